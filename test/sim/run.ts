import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { chosen, NUMBER, scriptOptions, TEXT } from "../support/script-options.ts";
import { naiveLosses } from "./anchor.ts";
import { ALL_KINDS, type Fault, type FaultKind } from "./faults.ts";
import { runAll, Worker } from "./pool.ts";
import { provoke } from "./provoke.ts";
import { hashText } from "./random.ts";
import { Tally } from "./report.ts";
import { drawSetting, type Setting } from "./setting.ts";
import { shrink } from "./shrink.ts";

const USAGE = `npm run sim -- [--seeds 100] [--from SEED] [--seconds S] [--jobs 2]
npm run sim -- --anchor [--seeds 20]
npm run sim -- --seed SEED [--faults KINDS | --faults '[…]'] [--save NAME]
npm run sim -- --setting FILE

  --seeds    how many runs; each is one seed
  --from     first seed; from the commit's hash when not given
  --seconds  begins no further run after so long
  --anchor   a plain collector in the same worlds, and what it loses
  --seed     one run, shrunk when it fails
  --faults   of that run: only these kinds, or exactly these faults as JSON
  --more     draw it with more faults of these kinds, as mutants are
  --patient  goes on for so long after the faults that every candle is due to be read again
  --mutant   with this planted defect (test/sim/mutants.ts)
  --save     keep what it shrinks to in test/sim/regressions/NAME.json
  --setting  one run of a kept setting
`;

const values = scriptOptions({
  seeds: 100,
  from: NUMBER,
  seconds: NUMBER,
  jobs: 2,
  seed: NUMBER,
  faults: TEXT,
  save: TEXT,
  setting: TEXT,
  mutant: TEXT,
  more: TEXT,
  patient: false,
  anchor: false,
  help: false,
});

/** From so many seeds on every fault and every mechanism has to be seen. */
const LONG = 40;

if (values.help) print(USAGE);
else if (values.setting !== undefined) {
  const { setting } = JSON.parse(readFileSync(values.setting, "utf8")) as { setting: Setting };
  await one(setting);
} else if (values.seed !== undefined) await one(settingOf(values.seed, values.faults));
else if (values.anchor) print((await naiveLosses(values.from ?? 1, values.seeds)).line);
else await many();

/** Many seeds, then the figures. */
async function many(): Promise<void> {
  const from = values.from ?? baseSeed();
  const count = values.seeds;
  const until = performance.now() + (values.seconds ?? Infinity) * 1_000;
  const tally = new Tally();
  let seed = from;
  await runAll(
    values.jobs,
    () => (seed < from + count && performance.now() < until ? { seed: seed++ } : undefined),
    (done) => tally.add(done),
  );
  const isLong = tally.seedCount >= LONG;
  if (isLong) await provoke(tally, from);
  for (const { done, violation } of tally.failures) {
    print(`seed ${done.setting.seed}: ${violation.oracle}: ${violation.detail}`);
    print(`  npm run sim -- --seed ${done.setting.seed}`);
  }
  const missing = [...tally.missingMarks(), ...tally.missingKinds()];
  if (missing.length > 0) print(`not seen: ${missing.join(", ")}`);
  for (const line of tally.lines(from)) print(line);
  if (tally.failures.length > 0 || (isLong && missing.length > 0)) process.exitCode = 1;
}

/** One run, shrunk when it fails. */
async function one(setting: Setting): Promise<void> {
  const worker = new Worker(values.mutant);
  try {
    const { outcome } = await worker.run({ setting });
    const { violation } = outcome;
    if (violation === undefined) {
      print(`seed ${setting.seed}: sound, trace ${outcome.digest}`);
      return;
    }
    print(
      `seed ${setting.seed}: ${violation.oracle} at ${new Date(violation.time).toISOString()}: ${violation.detail}`,
    );
    const small = await shrink(
      setting,
      violation.oracle,
      async (one) => (await worker.run({ setting: one })).outcome,
    );
    print(`${small.faults.length} of ${setting.faults.length} faults are needed:`);
    const more =
      (values.more === undefined ? "" : ` --more ${values.more}`) +
      (values.patient ? " --patient" : "");
    const faults = JSON.stringify(small.faults);
    print(`  npm run sim -- --seed ${setting.seed}${more} --faults '${faults}'`);
    if (values.save !== undefined) {
      const file = new URL(`./regressions/${values.save}.json`, import.meta.url);
      const kept = { oracle: violation.oracle, detail: violation.detail, setting: small };
      writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`);
    }
    process.exitCode = 1;
  } finally {
    worker.stop();
  }
}

function settingOf(seed: number, faults: string | undefined): Setting {
  const drawn = drawSetting(seed, { kinds: kindsOf(values.more ?? ""), isPatient: values.patient });
  if (faults === undefined) return drawn;
  if (faults.trim().startsWith("[")) return { ...drawn, faults: JSON.parse(faults) as Fault[] };
  const kinds = kindsOf(faults);
  return { ...drawn, faults: drawn.faults.filter(({ kind }) => kinds.includes(kind)) };
}

function kindsOf(list: string): FaultKind[] {
  return list === "" ? [] : ([...chosen(list, ALL_KINDS)] as FaultKind[]);
}

/** Other seeds for every commit, the same for one. */
function baseSeed(): number {
  try {
    return hashText(execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" })) % 1_000_000;
  } catch {
    return 1;
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
