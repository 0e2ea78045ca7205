import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";
import { MUTANTS, mutate } from "./mutants.ts";

/**
 * Loaded before the program under simulation. Its sockets become simulated ones; with `MUTANT=name` one planted defect is
 * written into one source file on its way into memory. Everything else is the program as it is.
 */
const mutant = MUTANTS.find(({ name }) => name === process.env.MUTANT);
if (process.env.MUTANT !== undefined && mutant === undefined) {
  throw new Error(`there is no mutant ${process.env.MUTANT}`);
}

registerHooks({
  resolve(specifier, context, nextResolve) {
    // With a real server there is a real network.
    const isExchange =
      mutant?.test === undefined && context.parentURL?.includes("/src/exchanges/") === true;
    if (specifier === "ws" && isExchange) {
      return { url: new URL("./socket.ts", import.meta.url).href, shortCircuit: true };
    }
    if (specifier === "./temp-file.ts" && isExchange) {
      return { url: new URL("./temp-file.ts", import.meta.url).href, shortCircuit: true };
    }
    return nextResolve(specifier, context);
  },
  load(url, context, nextLoad) {
    if (mutant === undefined || !url.endsWith(`/src/${mutant.file}`)) return nextLoad(url, context);
    const source = mutate(mutant, readFileSync(fileURLToPath(url), "utf8"));
    return { format: "module-typescript", source, shortCircuit: true };
  },
});
