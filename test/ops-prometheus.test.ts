import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { globSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { createMetrics } from "../src/telemetry/metrics.ts";
import {
  metricsIn,
  needsProgram,
  type RegisteredMetric,
  readProjectFile,
  readYaml,
  registeredMetrics,
  sampleNames,
} from "./support/ops.ts";

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface RuleTest {
  readonly alert_rule_test: readonly {
    readonly alertname: string;
    readonly exp_alerts: readonly { readonly exp_labels: Readonly<Record<string, string>> }[];
  }[];
}

const FOLDER = join(import.meta.dirname, "../ops/prometheus");
const rules = readYaml<{ groups: { rules: Rule[] }[] }>("ops/prometheus/alerts.yml").groups.flatMap(
  (group) => group.rules,
);
const cases = readYaml<{ tests: RuleTest[] }>("ops/prometheus/alerts.test.yml").tests.flatMap(
  (one) => one.alert_rule_test,
);
const alerts = [...new Set(rules.map(({ alert }) => alert))];

describe("alerts", () => {
  test("name registered metrics only", async () => {
    const known = await sampleNames();
    const unknown = rules.flatMap(({ alert, expr }) =>
      metricsIn(expr)
        .filter((name) => !known.has(name))
        .map((name) => `${alert}: ${name}`),
    );
    assert.deepEqual(unknown, []);
    assert.ok(rules.every(({ expr }) => metricsIn(expr).length > 0));
  });

  test("a metric that is not registered would be seen", () => {
    const expression =
      'histogram_quantile(0.95, sum by (le, x) (rate(ingestoin_x_bucket{a="b_c"}[5m]))) > 1 unless on (c) d_e == 2e9';
    assert.deepEqual(metricsIn(expression), ["ingestoin_x_bucket", "d_e"]);
  });

  for (const alert of alerts) {
    test(`${alert} has a case in which it fires and one in which it is silent`, () => {
      const own = cases.filter(({ alertname }) => alertname === alert);
      assert.ok(own.some(({ exp_alerts }) => exp_alerts.length > 0));
      assert.ok(own.some(({ exp_alerts }) => exp_alerts.length === 0));
    });
  }

  test("every timeframe has its limit for stale candles, and both cases", () => {
    const wanted: Readonly<Record<string, number>> = {
      ...{ "1m": 360, "5m": 1_800, "15m": 3_600, "1h": 7_200 },
      ...{ "4h": 18_000, "1d": 90_000, "1w": 604_800 },
    };
    const stale = rules.filter(({ alert }) => alert === "CandlesStale");
    const limits = new Map(
      stale.flatMap(({ expr }) =>
        [...expr.matchAll(/timeframe="(\w+)"\} > (\d+)/g)].map(([, timeframe, limit]) => [
          timeframe,
          Number(limit),
        ]),
      ),
    );
    for (const [timeframe, limit] of Object.entries(wanted))
      assert.equal(limits.get(timeframe), limit);
    assert.equal(limits.size, 16);
    const fired = cases.flatMap(({ exp_alerts }) =>
      exp_alerts.map(({ exp_labels }) => exp_labels.timeframe),
    );
    for (const timeframe of limits.keys()) assert.ok(fired.includes(timeframe), timeframe);
  });

  test("every alert has its runbook, and every runbook its alert", () => {
    const named = rules.map(({ annotations }) => annotations.runbook ?? "");
    const pages = globSync("docs/runbooks/*.md", { cwd: join(import.meta.dirname, "..") }).filter(
      (path) => !path.endsWith("README.md"),
    );
    assert.deepEqual([...new Set(named)].sort(), pages.sort());
    for (const { alert, annotations } of rules) {
      const page = readProjectFile(annotations.runbook ?? "");
      assert.ok(page.startsWith(`# ${alert}\n`), annotations.runbook);
      for (const part of ["What", "Why", "What to type"]) {
        assert.match(page, new RegExp(`^## ${part}$`, "m"), `${annotations.runbook}: ${part}`);
      }
    }
  });

  const promtool = needsProgram("promtool", "apt-get install prometheus");
  test("promtool checks the rules and runs their cases", {
    ...promtool,
    timeout: 120_000,
  }, async () => {
    const run = promisify(execFile);
    const checked = await run("promtool", ["check", "rules", "alerts.yml"], { cwd: FOLDER });
    assert.match(checked.stdout, new RegExp(`${rules.length} rules found`));
    const tested = await run("promtool", ["test", "rules", "alerts.test.yml"], { cwd: FOLDER });
    assert.match(tested.stdout, /SUCCESS/);
  });

  test("promtool finds nothing to blame in the metrics of our own", promtool, async () => {
    const { registry } = createMetrics("1.2.3");
    const child = execFile("promtool", ["check", "metrics"]);
    child.stdin?.end(await registry.metrics());
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (text: string) => {
        said += text;
      });
    }
    await once(child, "close");
    // Those of Node.js are named by the library.
    const own = said.split("\n").filter((line) => line !== "" && !line.startsWith("nodejs_"));
    assert.deepEqual(own, []);
  });

  test("promtool takes Prometheus's configuration", promtool, async () => {
    const checked = await promisify(execFile)("promtool", ["check", "config", "prometheus.yml"], {
      cwd: FOLDER,
    });
    assert.match(checked.stdout, /SUCCESS/);
    // The file with the token is in the container only.
    const args = ["check", "config", "--syntax-only", "prometheus.compose.yml"];
    const inContainer = await promisify(execFile)("promtool", args, { cwd: FOLDER });
    assert.match(inContainer.stdout, /SUCCESS/);
  });
});

describe("the page of metrics", () => {
  const PAGE = "docs/reference/metrics.md";

  test("lists what is registered (UPDATE_DOCS=1 writes it)", async () => {
    const metrics = await registeredMetrics();
    const isOwn = ({ name }: RegisteredMetric): boolean => !/^(?:process|nodejs)_/.test(name);
    const expected = withTable(
      withTable(readProjectFile(PAGE), "metrics", metrics.filter(isOwn)),
      "process",
      metrics.filter((metric) => !isOwn(metric)),
    );
    if (process.env.UPDATE_DOCS === "1") {
      writeFileSync(join(import.meta.dirname, "..", PAGE), expected);
    }
    assert.equal(readProjectFile(PAGE), expected);
  });

  test("the old names keep type, labels and buckets", async () => {
    const metrics = new Map((await registeredMetrics()).map((one) => [one.name, one]));
    const old: Readonly<Record<string, readonly [string, readonly string[]]>> = {
      ingestion_candles_processed_total: ["counter", ["symbol", "timeframe", "mode"]],
      ingestion_latency_seconds: ["histogram", ["symbol", "timeframe"]],
      ingestion_errors_total: ["counter", ["symbol", "timeframe", "error_type"]],
      ingestion_status: ["gauge", ["symbol", "timeframe", "mode"]],
      ingestion_queue_size: ["gauge", ["queue_name"]],
    };
    for (const [name, [type, labelNames]] of Object.entries(old)) {
      assert.deepEqual(
        [metrics.get(name)?.type, metrics.get(name)?.labelNames],
        [type, labelNames],
      );
    }
  });
});

/** The page with the table between `<!-- name -->` and `<!-- /name -->` made anew. */
function withTable(page: string, name: string, metrics: readonly RegisteredMetric[]): string {
  const rows = metrics.map(({ name: metric, type, labelNames, help }) => {
    const labels = labelNames.map((label) => `\`${label}\``).join(" ");
    return `| \`${metric}\` | ${type} | ${labels} | ${help.replaceAll("|", "\\|")} |`;
  });
  const table = ["| metric | type | labels | meaning |", "|---|---|---|---|", ...rows].join("\n");
  return page.replace(
    new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`),
    (_all, begin: string, end: string) => `${begin}${table}\n${end}`,
  );
}
