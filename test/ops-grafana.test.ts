import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "./support/free-port.ts";
import { metricsIn, needsProgram, readProjectFile, readYaml, sampleNames } from "./support/ops.ts";
import { Program } from "./support/program.ts";

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly datasource?: { readonly uid: string };
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly targets?: readonly { readonly expr: string }[];
}

interface Dashboard {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly annotations: { readonly list: readonly { readonly expr?: string }[] };
}

const dashboard = JSON.parse(
  readProjectFile("ops/grafana/dashboards/black-trade.json"),
) as Dashboard;
const rules = readYaml<{ groups: { rules: { alert: string; expr: string }[] }[] }>(
  "ops/prometheus/alerts.yml",
).groups.flatMap((group) => group.rules);

const expressions = [
  ...dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({ where: title, expr })),
  ),
  ...dashboard.annotations.list.flatMap(({ expr }) =>
    expr === undefined ? [] : [{ where: "annotation", expr }],
  ),
];

/** These have an answer only when something is wrong, or when the archive was asked. */
const MAY_BE_EMPTY = new Set([
  "Series that are not active",
  "Faults a second",
  "Requests to the archive a second",
  "Rewrites, repairs, failures",
  "annotation",
]);

/** Requests may all have been made before the first scrape: there is a histogram then, and nothing in it grows. */
const MAY_BE_NAN = new Set(["Time of a request, 95 %"]);

/** A busy machine may well be slow at the moment; these only have to be answered. */
const TELLS_OF_SPEED = new Set(["HighLatency", "QueueGrowing", "ResourcesShort"]);

/** What Grafana puts in before it asks. */
function asked(expression: string): string {
  return expression
    .replaceAll("$__rate_interval", "60s")
    .replaceAll(/\$(?:symbol|timeframe)/g, ".*");
}

describe("the Grafana dashboard", () => {
  test("names registered metrics only", async () => {
    const known = await sampleNames();
    const unknown = expressions.flatMap(({ where, expr }) =>
      metricsIn(asked(expr))
        .filter((name) => !known.has(name))
        .map((name) => `${where}: ${name}`),
    );
    assert.deepEqual(unknown, []);
    assert.ok(expressions.length > 40);
  });

  test("shows every metric of black-trade's own but the old names it has finer ones for", async () => {
    const shown = new Set(expressions.flatMap(({ expr }) => metricsIn(asked(expr))));
    const own = [...(await sampleNames())].filter((name) =>
      /^(?:ingestion|exchange|csv)_/.test(name),
    );
    const isShown = (name: string): boolean =>
      shown.has(name) ||
      ["_bucket", "_sum", "_count"].some((end) =>
        shown.has(name.replace(/_(?:bucket|sum|count)$/, end)),
      );
    const elsewhere = new Set([
      // Their exact instant, or a finer look, is for alerts and queries by hand.
      "exchange_held_until_timestamp_seconds",
      ...["bucket", "sum", "count"].map((end) => `exchange_archive_request_seconds_${end}`),
    ]);
    assert.deepEqual(
      own.filter((name) => !isShown(name) && !elsewhere.has(name)),
      [],
    );
  });

  test("has panels that do not overlap, with ids of their own and the provisioned source", () => {
    const ids = dashboard.panels.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
    const cells = new Set<string>();
    for (const { gridPos, title, type, datasource } of dashboard.panels) {
      if (type !== "row") assert.equal(datasource?.uid, "prometheus", title);
      assert.ok(gridPos.x + gridPos.w <= 24, title);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          assert.ok(!cells.has(`${x},${y}`), title);
          cells.add(`${x},${y}`);
        }
      }
    }
    const source = readYaml<{ datasources: { uid: string }[] }>(
      "ops/grafana/provisioning/datasources/prometheus.yaml",
    );
    assert.equal(source.datasources[0]?.uid, "prometheus");
  });

  test("every expression of dashboard and alerts has an answer from a real Prometheus fed by the demo", {
    ...needsProgram("prometheus", "apt-get install prometheus"),
    timeout: 120_000,
  }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "black-trade-grafana-"));
    const port = await freePort();
    const demo = new Program([
      ...["demo", "--symbols", "BTCUSDT,ETHUSDT", "--timeframes", "1s,1m"],
      ...["--http-port", String(port)],
    ]);
    let prometheus: Prometheus | undefined;
    try {
      await demo.says(/BTCUSDT 1s +open/, 60_000);
      prometheus = await startPrometheus(folder, port);
      await prometheus.hasSamples(20);
      const empty: string[] = [];
      for (const { where, expr } of expressions) {
        const answer = await prometheus.ask(asked(expr));
        const hasNumber =
          answer.some(({ value }) => value[1] !== "NaN") ||
          (answer.length > 0 && MAY_BE_NAN.has(where));
        if (!hasNumber && !MAY_BE_EMPTY.has(where)) empty.push(`${where}: ${expr}`);
      }
      assert.deepEqual(empty, []);
      const firing: string[] = [];
      for (const { alert, expr } of rules) {
        const isFiring = (await prometheus.ask(expr)).length > 0;
        if (isFiring && !TELLS_OF_SPEED.has(alert)) firing.push(alert);
      }
      assert.deepEqual(firing, [], "a healthy demo fires nothing");
      await prometheus.says("sum(ingestion_status)", "4");
      const series = await prometheus.ask('count({job="black-trade"})');
      const count = Number(series[0]?.value[1]);
      // As docs/reference/metrics.md says.
      assert.ok(count < 600 + 4 * 25, `${count} time series for 4 candle series`);
    } finally {
      await prometheus?.stop();
      demo.kill("SIGINT");
      await demo.ended();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

interface Prometheus {
  ask(expression: string): Promise<readonly Sample[]>;
  /** Waits until an expression has this value. */
  says(expression: string, value: string): Promise<void>;
  /** Waits until so many scrapes are stored. */
  hasSamples(count: number): Promise<void>;
  stop(): Promise<void>;
}

/** A real Prometheus that scrapes 127.0.0.1:`target` every half second. */
async function startPrometheus(folder: string, target: number): Promise<Prometheus> {
  const config = join(folder, "prometheus.yml");
  await writeFile(
    config,
    `global: { scrape_interval: 500ms }
scrape_configs:
  - job_name: black-trade
    static_configs: [{ targets: ["127.0.0.1:${target}"] }]
`,
  );
  const port = await freePort();
  const child = spawn(
    "prometheus",
    [
      ...["--config.file", config, "--storage.tsdb.path", join(folder, "tsdb")],
      ...[`--web.listen-address=127.0.0.1:${port}`, "--log.level=error"],
    ],
    { stdio: "ignore" },
  );
  const ask = async (expression: string): Promise<readonly Sample[]> => {
    const url = `http://127.0.0.1:${port}/api/v1/query?${new URLSearchParams({ query: expression })}`;
    const answer = (await (await fetch(url)).json()) as {
      status: string;
      error?: string;
      data: { result: Sample[] };
    };
    assert.equal(answer.status, "success", `${expression}: ${answer.error}`);
    return answer.data.result;
  };
  return {
    ask,
    says: async (expression, value) => {
      for (let tries = 0; ; tries += 1) {
        const [sample] = await ask(expression);
        if (sample?.value[1] === value) return;
        assert.ok(tries < 60, `${expression} is ${sample?.value[1]}, not ${value}`);
        await sleep(500);
      }
    },
    hasSamples: async (count) => {
      for (let tries = 0; ; tries += 1) {
        const found = await ask('sum_over_time(up{job="black-trade"}[1m])').catch(() => []);
        if (Number(found[0]?.value[1] ?? 0) >= count) return;
        assert.ok(tries < 120, "Prometheus gets no answer from black-trade");
        await sleep(500);
      }
    },
    stop: () => ended(child),
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill("SIGTERM");
  await new Promise((resolve) => child.once("exit", resolve));
}
