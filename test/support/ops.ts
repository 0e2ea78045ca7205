import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { createMetrics } from "../../src/telemetry/metrics.ts";

const ROOT = join(import.meta.dirname, "../..");

/** Text of a file of the project. */
export function readProjectFile(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** A YAML file of the project. */
export function readYaml<T>(path: string): T {
  return parse(readProjectFile(path)) as T;
}

/** Every document of a YAML file of the project. */
export function readYamlDocuments<T>(path: string): T[] {
  return parseAllDocuments(readProjectFile(path)).map((document) => document.toJS() as T);
}

/** Option for `test()`: skips, and says so, where the program is not installed. */
export function needsProgram(name: string, hint: string): { readonly skip: string | false } {
  try {
    execFileSync(name, ["--version"], { stdio: "ignore" });
    return { skip: false };
  } catch {
    return { skip: `${name} is not installed: ${hint}` };
  }
}

/** A metric as it is registered. */
export interface RegisteredMetric {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labelNames: readonly string[];
}

/** Every metric of the program, in the order of the registry. */
export async function registeredMetrics(): Promise<RegisteredMetric[]> {
  const { registry } = createMetrics("0.0.0");
  const types = new Map(
    (await registry.getMetricsAsJSON()).map(({ name, type }) => [name, String(type)]),
  );
  return registry.getMetricsAsArray().map((metric) => {
    const { name, help, labelNames = [] } = metric as unknown as RegisteredMetric;
    return { name, help, type: types.get(name) ?? "", labelNames };
  });
}

/** Names under which the samples of all metrics are stored, `up` included. */
export async function sampleNames(): Promise<ReadonlySet<string>> {
  const names = (await registeredMetrics()).flatMap(({ name, type }) =>
    type === "histogram" || type === "summary"
      ? [`${name}_bucket`, `${name}_sum`, `${name}_count`]
      : [name],
  );
  return new Set([...names, "up"]);
}

const KEYWORDS = new Set(["and", "or", "unless", "bool", "offset", "inf", "nan"]);

/** The metrics that an expression of PromQL names. */
export function metricsIn(expression: string): string[] {
  const bare = expression
    .replace(/"(?:[^"\\]|\\.)*"/g, "")
    .replace(/\{[^}]*\}/g, " ")
    .replace(/\[[^\]]*\]/g, " ")
    .replace(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/gi, " ");
  const names = [...bare.matchAll(/(?<![\w.$:])[a-zA-Z_:][\w:]*(?![\w:]*\s*\()/g)].map(
    ([name]) => name,
  );
  return [...new Set(names.filter((name) => !KEYWORDS.has(name.toLowerCase())))];
}
