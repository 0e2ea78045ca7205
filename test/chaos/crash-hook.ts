/**
 * Loaded before the program (`--import`): kills it at one point, without a switch in the program itself. A point is a call
 * of the store, or a statement that goes to the database, before it or after its answer.
 */
import pg from "pg";
import { BanLedger } from "../../src/store/ban-ledger.ts";
import { CandleWriter } from "../../src/store/candle-writer.ts";
import { Confirmation } from "../../src/store/confirmation.ts";
import { GapLedger } from "../../src/store/gap-ledger.ts";
import { IngestionRuns } from "../../src/store/ingestion-runs.ts";

const { CRASH_POINT: wanted = "", CRASH_HIT: hit = "1" } = process.env;
let left = Number(hit);

function reach(point: string): void {
  if (point !== wanted) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, "SIGKILL");
}

type Method = (...args: never[]) => unknown;

function watch(owner: object, name: string, label: string): void {
  const methods = owner as Record<string, Method>;
  const original = methods[name];
  if (original === undefined) throw new Error(`${label} has no ${name}`);
  methods[name] = function watched(this: unknown, ...args: never[]): unknown {
    reach(`before ${label}`);
    const result = original.apply(this, args);
    if (!(result instanceof Promise)) return result;
    return result.then((value) => {
      reach(`after ${label}`);
      return value;
    });
  };
}

watch(CandleWriter.prototype, "write", "write");
watch(GapLedger.prototype, "open", "gap-open");
watch(GapLedger.prototype, "replace", "gap-replace");
watch(BanLedger.prototype, "save", "ban-save");
watch(Confirmation.prototype, "saveConfirmed", "confirm-save");
watch(IngestionRuns.prototype, "begin", "run-begin");
watch(IngestionRuns.prototype, "want", "run-want");
watch(IngestionRuns.prototype, "report", "report");

const query = pg.Client.prototype.query as (...args: unknown[]) => unknown;
pg.Client.prototype.query = function watched(this: pg.Client, ...args: unknown[]): unknown {
  const [first] = args;
  const text = typeof first === "string" ? first : (first as { text?: string } | undefined)?.text;
  const word = text?.trim().split(/[\s;]/, 1)[0]?.toLowerCase() ?? "";
  reach(`before sql ${word}`);
  const result = query.apply(this, args);
  if (result instanceof Promise)
    result.then(
      () => reach(`after sql ${word}`),
      () => undefined,
    );
  return result;
} as typeof pg.Client.prototype.query;
