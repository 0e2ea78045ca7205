import { execFileSync } from "node:child_process";
import { cpSync, globSync, rmSync } from "node:fs";
import { join } from "node:path";

/** Makes `dist/` anew: the compiled sources, and beside them the files that they read. Run: `npm run build`. */
const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");

rmSync(dist, { recursive: true, force: true });
execFileSync("npx", ["tsc", "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
const read = ["store/migrations/*.sql", "serve/dashboard/page/*.{html,css,svg,js}"];
for (const file of globSync(read, { cwd: join(root, "src") })) {
  cpSync(join(root, "src", file), join(dist, file));
}
