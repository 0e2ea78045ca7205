import { environmentFacts, secretsOf } from "../config.ts";
import { maskPasswords } from "../store/index.ts";
import { redactor } from "../telemetry/log.ts";
import { type Finding, type RunOptions, runChecks } from "./check.ts";
import { Context } from "./context.ts";
import { DATABASE_CHECKS } from "./database.ts";
import { EXCHANGE_CHECKS } from "./exchange.ts";
import { FACE_CHECKS } from "./faces.ts";
import { INGESTION_CHECKS } from "./ingestion.ts";
import { SETUP_CHECKS } from "./setup.ts";
import { STABILITY_CHECK } from "./stability.ts";

export { exitStatusOf, type Finding } from "./check.ts";

/** Every check, in the order in which they are shown. */
export const CHECKS = [
  ...SETUP_CHECKS,
  ...DATABASE_CHECKS,
  ...INGESTION_CHECKS,
  ...EXCHANGE_CHECKS,
  STABILITY_CHECK,
  ...FACE_CHECKS,
] as const;

/** How long giving back what was opened may take. */
const CLOSE_DEADLINE_MS = 5_000;

/** What a diagnosis needs besides the way checks are run. */
export interface DiagnosisOptions extends RunOptions {
  /** Reads the configuration. @throws {BlackTradeError} E_CONFIG */
  readonly load: Context["load"];
  readonly environment?: Context["environment"];
}

/**
 * Runs every check. Changes nothing but what starting the embedded server changes, and sends the exchange no request
 * during a stored ban. No secret is in the result.
 */
export async function diagnose(options: DiagnosisOptions): Promise<Finding[]> {
  const { clock, load, environment = environmentFacts() } = options;
  const context = new Context({ clock, environment, load });
  try {
    const { onFinding } = options;
    const told = onFinding && ((finding: Finding) => onFinding(withoutSecrets(finding, context)));
    const findings = await runChecks(CHECKS, context, {
      ...options,
      ...(told === undefined ? {} : { onFinding: told }),
    });
    return findings.map((finding) => withoutSecrets(finding, context));
  } finally {
    const ended = new AbortController();
    const closing = context.close().catch(() => undefined);
    await Promise.race([
      closing,
      clock.sleep(CLOSE_DEADLINE_MS, ended.signal).catch(() => undefined),
    ]);
    ended.abort();
  }
}

function withoutSecrets(finding: Finding, { soundConfig }: Context): Finding {
  const hide = redactor(soundConfig === undefined ? [] : secretsOf(soundConfig));
  const clean = (text: string): string => maskPasswords(hide(text));
  return {
    ...finding,
    found: clean(finding.found),
    ...(finding.remedy === undefined ? {} : { remedy: clean(finding.remedy) }),
  };
}
