import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { loadConfig, SETTINGS } from "../src/config.ts";
import { needsProgram, readProjectFile, readYaml, readYamlDocuments } from "./support/ops.ts";

const ROOT = join(import.meta.dirname, "..");
const run = promisify(execFile);
/** Read by Node.js itself or by nothing of ours. */
const FOREIGN = new Set(["NODE_ENV"]);
const TOKEN = "5f2b9a0c1d3e4f60718293a4b5c6d7e8";

/** Names that are no setting of the program. */
function unknownSettings(names: readonly string[]): string[] {
  return names.filter((name) => !(name in SETTINGS) && !FOREIGN.has(name));
}

interface Service {
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly command?: readonly string[];
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly secrets?: readonly string[];
}

describe("ops/compose.yaml", () => {
  const compose = readYaml<{
    services: Readonly<Record<string, Service>>;
    volumes: Readonly<Record<string, unknown>>;
    secrets: Readonly<Record<string, { environment: string }>>;
  }>("ops/compose.yaml");
  const { services } = compose;
  const example = readProjectFile("ops/compose.env.example");

  test("gives the program settings that it has and takes", () => {
    const environment = services["black-trade"]?.environment ?? {};
    assert.deepEqual(unknownSettings(Object.keys(environment)), []);
    const filled = Object.fromEntries(
      Object.entries(environment).map(([name, value]) => [
        name,
        value.replace(
          /\$\{\w+(?::-([^}]*)|:\?[^}]*)?\}/g,
          (_all, fallback?: string) => fallback ?? TOKEN,
        ),
      ]),
    );
    const config = loadConfig({}, { env: filled, envFile: "" });
    assert.equal(config.http.host, "0.0.0.0");
    assert.equal(config.http.port, 9090);
    assert.equal(new URL(config.databaseUrl ?? "").hostname, "database");
    assert.ok("database" in services);
  });

  test("every variable that it asks for is in the example, and the example is a setting's or a secret's", () => {
    const asked = new Set(
      [...readProjectFile("ops/compose.yaml").matchAll(/\$\{(\w+)/g)].map(([, name = ""]) => name),
    );
    const given = [...example.matchAll(/^(\w+)=/gm)].map(([, name = ""]) => name);
    for (const name of asked) {
      assert.ok(given.includes(name) || name in SETTINGS, `${name} is not in compose.env.example`);
    }
    for (const name of given) assert.ok(asked.has(name), `${name} is asked for by nobody`);
    for (const { environment } of Object.values(compose.secrets))
      assert.ok(given.includes(environment));
    assert.doesNotMatch(example, /^(?:POSTGRES_PASSWORD|API_TOKEN|GRAFANA_PASSWORD)=.+/m);
  });

  test("publishes on this machine's own address only, Prometheus on 9091", () => {
    const published = Object.values(services).flatMap(({ ports = [] }) => ports);
    assert.ok(published.every((port) => port.startsWith("127.0.0.1:")));
    assert.deepEqual(services.prometheus?.ports, ["127.0.0.1:9091:9091"]);
    assert.ok(services.prometheus?.command?.some((flag) => flag.endsWith(":9091")));
    assert.equal(services.database?.ports, undefined);
    assert.equal(new URL(services.grafana?.environment?.PROMETHEUS_URL ?? "").port, "9091");
  });

  test("mounts files that exist and volumes that are declared", () => {
    for (const { volumes = [], build } of Object.values(services)) {
      for (const volume of volumes) {
        const [source = ""] = volume.split(":");
        if (source.startsWith(".")) assert.ok(existsSync(join(ROOT, "ops", source)), source);
        else assert.ok(source in compose.volumes, source);
      }
      if (build === undefined) continue;
      assert.ok(existsSync(join(ROOT, "ops", build.context, build.dockerfile)));
    }
  });

  test("Prometheus asks black-trade's port with the token, and has the alerts", () => {
    const config = readYaml<{
      rule_files: string[];
      scrape_configs: {
        job_name: string;
        authorization: { credentials_file: string };
        static_configs: { targets: string[] }[];
      }[];
    }>("ops/prometheus/prometheus.compose.yml");
    const [scrape] = config.scrape_configs;
    assert.equal(scrape?.job_name, "black-trade");
    assert.deepEqual(scrape?.static_configs[0]?.targets, ["black-trade:9090"]);
    assert.equal(scrape?.authorization.credentials_file, "/run/secrets/api_token");
    assert.deepEqual(services.prometheus?.secrets, ["api_token"]);
    assert.deepEqual(config.rule_files, ["alerts.yml"]);
    const mounts = services.prometheus?.volumes ?? [];
    assert.ok(mounts.includes("./prometheus/alerts.yml:/etc/prometheus/alerts.yml:ro"));
  });

  test("Grafana is given the folder that its provider reads", () => {
    const [provider] = readYaml<{ providers: { options: { path: string } }[] }>(
      "ops/grafana/provisioning/dashboards/black-trade.yaml",
    ).providers;
    const mounts = services.grafana?.volumes ?? [];
    assert.ok(mounts.includes(`./grafana/dashboards:${provider?.options.path}:ro`));
    assert.ok(mounts.includes("./grafana/provisioning:/etc/grafana/provisioning:ro"));
  });
});

describe("ops/Dockerfile", () => {
  const lines = readProjectFile("ops/Dockerfile");

  test("copies what exists and what is not ignored", () => {
    const kept = readProjectFile("ops/Dockerfile.dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    const copied = [...lines.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, paths = ""]) =>
      paths.split(" "),
    );
    assert.ok(copied.includes("src") && copied.includes("bin"));
    for (const path of copied) {
      assert.ok(existsSync(join(ROOT, path)), path);
      assert.ok(kept.includes(path), `${path} is ignored`);
    }
  });

  test("runs as another user than root, on the program's port, by the program's entry", () => {
    assert.match(lines, /^USER 1000:1000$/m);
    assert.match(lines, new RegExp(`^EXPOSE ${SETTINGS.HTTP_PORT.fallback}$`, "m"));
    assert.match(lines, /^ENTRYPOINT \["node", "\/app\/bin\/black-trade.js"\]$/m);
    assert.ok(existsSync(join(ROOT, "bin/black-trade.js")));
    assert.match(lines, /\/livez/);
    const set = [...lines.matchAll(/^ENV (.+)$/gm)].flatMap(([, pairs = ""]) =>
      pairs.split(" ").map((pair) => pair.split("=")[0] ?? ""),
    );
    assert.deepEqual(unknownSettings(set), []);
  });

  test("its Node.js is the one that the checkout uses", () => {
    const manifest = JSON.parse(readProjectFile("package.json")) as {
      devDependencies: Readonly<Record<string, string>>;
    };
    const major = manifest.devDependencies.node?.split(".")[0];
    const images = [...lines.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image);
    assert.equal(images.length, 3);
    for (const image of images) assert.match(image ?? "", new RegExp(`^node:${major}-`));
  });
});

describe("ops/systemd/black-trade.service", () => {
  const unit = readProjectFile("ops/systemd/black-trade.service");

  test("starts a command of the program with settings that it has", () => {
    const [, program, script, command] =
      /^ExecStart=\/opt\/black-trade\/(\S+) \/opt\/black-trade\/(\S+) (\S+)$/m.exec(unit) ?? [];
    assert.equal(program, "node_modules/.bin/node");
    assert.ok(existsSync(join(ROOT, script ?? "?")));
    assert.equal(command, "ingest");
    const set = [...unit.matchAll(/^Environment=(.+)$/gm)].flatMap(([, pairs = ""]) =>
      pairs.split(" ").map((pair) => pair.split("=")[0] ?? ""),
    );
    assert.deepEqual(unknownSettings(set), []);
    assert.match(unit, /DATA_DIR=\/var\/lib\/black-trade$/m);
    assert.match(unit, /^StateDirectory=black-trade$/m);
  });

  test("knows the program's exit statuses: 2 is not tried again, a clean stop is none", () => {
    assert.match(unit, /^RestartPreventExitStatus=2$/m);
    assert.match(unit, /^SuccessExitStatus=130 143$/m);
  });

  const analyze = needsProgram("systemd-analyze", "part of systemd");
  test("systemd takes it", analyze, async () => {
    const folder = await mkdtemp(join(tmpdir(), "black-trade-unit-"));
    try {
      const path = join(folder, "black-trade.service");
      // The node of this very process stands for the checkout's, which is a link that may lead elsewhere.
      const here = unit
        .replaceAll("/opt/black-trade/node_modules/.bin/node", process.execPath)
        .replaceAll("/opt/black-trade", ROOT);
      await writeFile(path, here);
      const { stdout, stderr } = await run("systemd-analyze", ["verify", path]);
      assert.equal(`${stdout}${stderr}`.trim(), "");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("ops/kubernetes/base", () => {
  interface Deployment {
    readonly kind: string;
    readonly spec: {
      readonly replicas: number;
      readonly strategy: { readonly type: string };
      readonly template: {
        readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
        readonly spec: {
          readonly containers: readonly {
            readonly args: readonly string[];
            readonly env: readonly {
              readonly name: string;
              readonly value?: string;
              readonly valueFrom?: { readonly secretKeyRef: { readonly key: string } };
            }[];
            readonly ports: readonly { readonly containerPort: number }[];
            readonly livenessProbe: { readonly httpGet: { readonly path: string } };
          }[];
        };
      };
    };
  }
  const [deployment] = readYamlDocuments<Deployment>("ops/kubernetes/base/deployment.yaml");
  const [container] = deployment?.spec.template.spec.containers ?? [];

  test("gives the program settings that it has and takes", () => {
    const { configMapGenerator } = readYaml<{
      configMapGenerator: { literals: string[] }[];
    }>("ops/kubernetes/base/kustomization.yaml");
    const literals = configMapGenerator.flatMap(({ literals: pairs }) =>
      pairs.map((pair) => pair.split("=", 2) as [string, string]),
    );
    const env = container?.env ?? [];
    assert.deepEqual(
      unknownSettings([...literals.map(([name]) => name), ...env.map(({ name }) => name)]),
      [],
    );
    const config = loadConfig(
      {},
      {
        env: {
          ...Object.fromEntries(literals),
          ...Object.fromEntries(env.map(({ name, value }) => [name, value])),
          DATABASE_URL: "postgresql://u:p@postgres:5432/black_trade",
          API_TOKEN: TOKEN,
        },
        envFile: "",
      },
    );
    assert.equal(config.http.port, container?.ports[0]?.containerPort);
    const secret = env.filter(({ valueFrom }) => valueFrom !== undefined).map(({ name }) => name);
    assert.deepEqual(secret, ["DATABASE_URL", "API_TOKEN"]);
  });

  test("runs one ingester at a time and asks it whether it lives", () => {
    assert.equal(deployment?.spec.replicas, 1);
    assert.equal(deployment?.spec.strategy.type, "Recreate");
    assert.deepEqual(container?.args, ["ingest"]);
    assert.equal(container?.livenessProbe.httpGet.path, "/livez");
    const port = deployment?.spec.template.metadata.annotations["prometheus.io/port"];
    assert.equal(port, String(container?.ports[0]?.containerPort));
  });

  test("kustomize renders it", needsKubectl(), async () => {
    const folder = dirname(join(ROOT, "ops/kubernetes/base/kustomization.yaml"));
    const { stdout } = await run("kubectl", ["kustomize", folder]);
    assert.match(stdout, /kind: Deployment/);
    assert.match(stdout, /kind: Service/);
    assert.match(stdout, /kind: ConfigMap/);
  });
});

function needsKubectl(): { readonly skip: string | false } {
  return existsSync("/usr/bin/kubectl") || existsSync("/usr/local/bin/kubectl")
    ? { skip: false }
    : { skip: "kubectl is not installed" };
}

test("docs/DEPLOYMENT.md and the runbooks name files that exist", () => {
  const page = readProjectFile("docs/DEPLOYMENT.md");
  const named = [...page.matchAll(/(?:\]\(\.\.\/|`|-f |=)(ops\/[\w./-]+)/g)].map(
    ([, path = ""]) => path,
  );
  assert.ok(named.length > 8);
  const missing = named.filter((path) => path !== "ops/.env" && !existsSync(join(ROOT, path)));
  assert.deepEqual(missing, []);
});
