import { existsSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { resolve } from "node:path";
import { parseEnv } from "node:util";
import { z } from "zod";
import { BlackTradeError } from "./core/errors.ts";
import { nearest } from "./core/nearest.ts";
import { isTimeframe, TIMEFRAMES, type Timeframe } from "./core/timeframe.ts";

/** All settings, checked once and frozen. Secrets: `databaseUrl`, `http.token`; see {@link secretsOf}. */
export interface Config {
  /** Absent: the embedded PostgreSQL under `dataDir`. */
  readonly databaseUrl: string | undefined;
  readonly mode: "websocket" | "polling";
  readonly symbols: readonly string[];
  readonly timeframes: readonly Timeframe[];
  /** Write every SQL statement to the log. */
  readonly isDbEchoed: boolean;
  /** First step of the WebSocket's back-off. */
  readonly reconnectDelayMs: number;
  readonly logLevel: "debug" | "info" | "warn" | "error" | "silent";
  /** Absolute. */
  readonly dataDir: string;
  /** What `import-csv` reads when no path is given. */
  readonly csvDir: string;
  /** Absolute; absent: no CSV mirror. */
  readonly csvMirrorDir: string | undefined;
  readonly http: HttpConfig;
  readonly binance: {
    readonly wsUrl: string;
    readonly restUrl: string;
    readonly archiveUrl: string;
  };
  /** History wanted of a new series, days; absent: by timeframe, see {@link historyDays}. */
  readonly backfillDays: number | undefined;
}

/** Where the HTTP face listens. */
export interface HttpConfig {
  readonly isEnabled: boolean;
  readonly host: string;
  readonly port: number;
  readonly token: string | undefined;
  /** Names of a reverse proxy, lower case. */
  readonly allowedHosts: readonly string[];
  /** `https://example.com`: sites whose pages may read. */
  readonly allowedOrigins: readonly string[];
}

/** Values given on the command line; they win over the environment. Keys are the environment's names. */
export type Flags = Readonly<Partial<Record<SettingName, string>>>;

interface Setting {
  readonly fallback: string;
  readonly help: string;
}

/** Every setting, with its default as text; the table in the README is compared with this one by a test. */
export const SETTINGS = {
  DATABASE_URL: {
    fallback: "",
    help: "PostgreSQL 12 or newer; empty = the embedded server under DATA_DIR",
  },
  INGESTION_MODE: { fallback: "websocket", help: "websocket or polling" },
  TRADING_PAIRS: { fallback: "BTCUSDT,ETHUSDT", help: "symbols, separated by commas" },
  TIMEFRAMES: { fallback: "15m,1h,4h,1d", help: `of ${TIMEFRAMES.join(" ")}` },
  BACKFILL_DAYS: {
    fallback: "",
    help: "history of a new series in days; empty = by timeframe (1m 7, 15m 30, 1h 90, 1d 365, …)",
  },
  DATA_DIR: { fallback: "data", help: "folder of the embedded server" },
  CSV_DIR: { fallback: "data/ohlcv", help: "folder that import-csv reads when no path is given" },
  CSV_MIRROR_DIR: {
    fallback: "",
    help: "folder of CSV files (SYMBOL_TIMEFRAME.csv) that ingest keeps in step with the database; empty = none",
  },
  HTTP_HOST: {
    fallback: "127.0.0.1",
    help: "address that the HTTP server listens on; another one than this machine's own needs API_TOKEN",
  },
  HTTP_PORT: { fallback: "9090", help: "its port; METRICS_PORT is the other name" },
  API_TOKEN: {
    fallback: "",
    help: "128 bits or more (openssl rand -base64 24); demanded as a bearer token, needed for jobs and to listen beyond this machine",
  },
  HTTP_ALLOWED_HOSTS: {
    fallback: "",
    help: "host names under which a reverse proxy asks, separated by commas; needs API_TOKEN",
  },
  HTTP_ALLOWED_ORIGINS: {
    fallback: "",
    help: "origins of other sites whose pages may read (CORS), such as https://example.com; separated by commas",
  },
  WEBSOCKET_RECONNECT_DELAY: { fallback: "1", help: "first step of the back-off, seconds" },
  LOG_LEVEL: { fallback: "info", help: "debug, info, warn, error or silent" },
  DB_ECHO: { fallback: "false", help: "true: log every SQL statement" },
  BINANCE_WS_URL: {
    fallback: "wss://data-stream.binance.vision",
    help: "base without a path",
  },
  BINANCE_REST_URL: {
    fallback: "https://data-api.binance.vision",
    help: "base without a path",
  },
  BINANCE_ARCHIVE_URL: {
    fallback: "https://data.binance.vision",
    help: "base without a path",
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** The name of a setting in the environment. */
export type SettingName = keyof typeof SETTINGS;

const OTHER_NAMES: Readonly<Record<string, SettingName>> = { METRICS_PORT: "HTTP_PORT" };
const MIN_TOKEN_BITS = 128;
/** What is random has about as many different characters; a word repeated has fewer. */
const MIN_TOKEN_CHARACTERS = 8;
/** Days of history that a new series gets, by timeframe: what the replaced system asked for, and its like for the others. */
const HISTORY_DAYS: Readonly<Record<Timeframe, number>> = {
  "1s": 1 / 24,
  "1m": 7,
  "3m": 10,
  "5m": 14,
  "15m": 30,
  "30m": 60,
  "1h": 90,
  "2h": 120,
  "4h": 180,
  "6h": 240,
  "8h": 270,
  "12h": 300,
  "1d": 365,
  "3d": 730,
  "1w": 730,
  "1M": 1_825,
};

/** Days of history that a new series gets. */
export function historyDays(config: Pick<Config, "backfillDays">, timeframe: Timeframe): number {
  return config.backfillDays ?? HISTORY_DAYS[timeframe];
}

/**
 * Reads flags, environment and `.env` (in this order of force) into one frozen configuration.
 * @throws {BlackTradeError} E_CONFIG with every mistake at once, each with its fix
 */
export function loadConfig(flags: Flags = {}, options: ConfigSources = {}): Config {
  const env = options.env ?? process.env;
  const problems: string[] = [];
  const file = readEnvFile(options.envFile ?? ".env", problems);
  problems.push(...misspeltNames({ ...file, ...env }));
  if (isTlsUnchecked(env)) {
    problems.push(
      "NODE_TLS_REJECT_UNAUTHORIZED: 0 would accept any certificate, of the exchange and of the database; unset it, and name an authority of your own in NODE_EXTRA_CA_CERTS",
    );
  }

  const raw: Record<string, string> = {};
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const others = Object.keys(OTHER_NAMES).filter((other) => OTHER_NAMES[other] === name);
    const text = [name, ...others]
      .flatMap((key) => [key === name ? flags[name] : undefined, env[key], file[key]])
      .find((value) => value !== undefined);
    // An empty value is a choice, too: it stands for the default, whatever .env says.
    const value = text?.trim() || SETTINGS[name].fallback;
    raw[name] = value.length <= MAX_LENGTH ? value : SETTINGS[name].fallback;
    if (value.length > MAX_LENGTH)
      problems.push(`${name}: is longer than ${MAX_LENGTH} characters`);
  }
  const parsed = SCHEMA.safeParse(raw);
  if (!parsed.success) {
    for (const issue of parsed.error.issues)
      problems.push(`${issue.path.join(".")}: ${issue.message}`);
  } else if (!isLoopback(parsed.data.HTTP_HOST) && parsed.data.API_TOKEN === undefined) {
    problems.push(
      `HTTP_HOST: ${shown(parsed.data.HTTP_HOST)} can be reached from other machines; set API_TOKEN as well, or use 127.0.0.1`,
    );
  } else if (parsed.data.HTTP_ALLOWED_HOSTS.length > 0 && parsed.data.API_TOKEN === undefined) {
    problems.push(
      "HTTP_ALLOWED_HOSTS: a proxy lets other machines ask; set API_TOKEN as well, or remove it",
    );
  }
  if (problems.length > 0 || !parsed.success) {
    throw new BlackTradeError("E_CONFIG", problems.join("\n"), {
      remedy: "mend the settings above in the environment, in .env or on the command line",
    });
  }
  const data = parsed.data;
  return Object.freeze({
    databaseUrl: data.DATABASE_URL,
    mode: data.INGESTION_MODE,
    symbols: Object.freeze(data.TRADING_PAIRS),
    timeframes: Object.freeze(data.TIMEFRAMES),
    isDbEchoed: data.DB_ECHO,
    reconnectDelayMs: data.WEBSOCKET_RECONNECT_DELAY * 1_000,
    logLevel: data.LOG_LEVEL,
    dataDir: resolve(data.DATA_DIR),
    csvDir: data.CSV_DIR,
    csvMirrorDir: data.CSV_MIRROR_DIR === "" ? undefined : resolve(data.CSV_MIRROR_DIR),
    http: Object.freeze({
      isEnabled: true,
      host: data.HTTP_HOST,
      port: data.HTTP_PORT,
      token: data.API_TOKEN,
      allowedHosts: Object.freeze(data.HTTP_ALLOWED_HOSTS),
      allowedOrigins: Object.freeze(data.HTTP_ALLOWED_ORIGINS),
    }),
    binance: Object.freeze({
      wsUrl: data.BINANCE_WS_URL,
      restUrl: data.BINANCE_REST_URL,
      archiveUrl: data.BINANCE_ARCHIVE_URL,
    }),
    backfillDays: data.BACKFILL_DAYS,
  });
}

/** Where settings come from; the process's own by default. */
export interface ConfigSources {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly envFile?: string;
}

/** What of the environment has a part in the program besides its settings; for `doctor`. Holds names, never values. */
export interface EnvironmentFacts {
  /** Absolute path of `.env`, whether it exists or not. */
  readonly envFile: string;
  /** Settings that `.env` gives and that the environment gives another value. */
  readonly overruled: readonly string[];
  /** Variables that name a proxy. */
  readonly proxies: readonly string[];
  /** True when Node.js is told to pass the proxy variables on to `fetch`. */
  readonly usesProxies: boolean;
  /** True when somebody switched the check of certificates off. */
  readonly isTlsUnchecked: boolean;
}

/** Reads {@link EnvironmentFacts}. */
export function environmentFacts(options: ConfigSources = {}): EnvironmentFacts {
  const env = options.env ?? process.env;
  const envFile = resolve(options.envFile ?? ".env");
  const file = readEnvFile(envFile, []);
  const names = [...Object.keys(SETTINGS), ...Object.keys(OTHER_NAMES)];
  const isSet = (name: string): boolean => (env[name] ?? env[name.toLowerCase()] ?? "") !== "";
  return {
    envFile,
    overruled: names.filter(
      (name) => file[name] !== undefined && env[name] !== undefined && env[name] !== file[name],
    ),
    proxies: ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"].filter(isSet),
    usesProxies: env.NODE_USE_ENV_PROXY === "1",
    isTlsUnchecked: isTlsUnchecked(env),
  };
}

function isTlsUnchecked(env: Readonly<Record<string, string | undefined>>): boolean {
  return env.NODE_TLS_REJECT_UNAUTHORIZED === "0";
}

/** Texts that must never be shown: the database's password, in both of its spellings, and the token. */
export function secretsOf(config: Config): string[] {
  const secrets = [config.http.token ?? ""];
  if (config.databaseUrl !== undefined) {
    const url = parsePostgresUrl(config.databaseUrl);
    for (const text of [url?.password ?? "", url?.searchParams.get("password") ?? ""]) {
      secrets.push(text, safeDecode(text));
    }
  }
  return [...new Set(secrets.filter((secret) => secret !== ""))];
}

/** True when only this machine can reach the address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** Longest setting: 2,000 symbols and more. */
const MAX_LENGTH = 32_768;
const MAX_URL_LENGTH = 4_096;
/** Mistakes of one list that are named. */
const MAX_MISTAKES = 10;

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** How many bits a token of this length and alphabet has, were it random; 0 for what plainly is not. */
function tokenBits(text: string): number {
  if (new Set(text).size < MIN_TOKEN_CHARACTERS) return 0;
  const alphabet = /^\d+$/.test(text) ? 10 : /^[\da-f]+$/i.test(text) ? 16 : 64;
  return text.length * Math.log2(alphabet);
}

function readEnvFile(
  path: string,
  problems: string[],
): Readonly<Record<string, string | undefined>> {
  if (!existsSync(path)) return {};
  try {
    return parseEnv(readFileSync(path, "utf8"));
  } catch (error) {
    problems.push(`${path}: cannot be read (${error instanceof Error ? error.message : error})`);
    return {};
  }
}

/** Names that are nearly a setting and are none: a typing error would otherwise be a default in silence. */
function misspeltNames(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = [...Object.keys(SETTINGS), ...Object.keys(OTHER_NAMES)];
  return Object.keys(env).flatMap((name) => {
    if (known.includes(name) || !/^[A-Z_]{6,}$/i.test(name)) return [];
    const meant = nearest(name.toUpperCase(), known);
    return meant === undefined ? [] : [`${name}: is not a setting; did you mean ${meant}?`];
  });
}

function list(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function repeated(values: readonly string[]): string[] {
  const seen = new Set<string>();
  const again = values.filter((value) => seen.has(value) || !seen.add(value));
  return [...new Set(again)];
}

/** Names each mistake of a list, the first ten of them. */
function complain(context: z.RefinementCtx, mistakes: Iterable<string>): void {
  let count = 0;
  for (const message of mistakes) {
    count += 1;
    if (count <= MAX_MISTAKES) context.addIssue({ code: "custom", message });
    else break;
  }
  if (count > MAX_MISTAKES) context.addIssue({ code: "custom", message: "… and more like these" });
}

const timeframes = z.string().transform((text, context): Timeframe[] => {
  const names = list(text);
  complain(context, timeframeMistakes(names));
  if (names.length === 0)
    context.addIssue({ code: "custom", message: "name at least one, for example 1m" });
  return names.filter(isTimeframe);
});

/** True for what looks like a value of a setting, mistyped; what was pasted by mistake may be a password. */
function isShowable(text: string): boolean {
  return /^[\p{L}\p{N} ._/,:+-]{0,20}$/u.test(text);
}

/** A refused value for people: whole when it looks like one of a setting, else only how it begins. */
function shown(text: string): string {
  return isShowable(text) ? `"${text}"` : `"${text.slice(0, 3)}…" (${text.length} characters)`;
}

function* timeframeMistakes(names: readonly string[]): Generator<string> {
  for (const name of names) {
    if (isTimeframe(name)) continue;
    const meant = meantTimeframe(name);
    const hint = meant === undefined ? `one of ${TIMEFRAMES.join(" ")}` : `did you mean ${meant}?`;
    yield `${shown(name)} is not a timeframe; ${hint}`;
  }
  for (const name of repeated(names)) yield `${shown(name)} is listed twice; remove one`;
}

/** `15min`, `1H`, `60m`, `1mo`, `1day` … as the exchange spells them. */
function meantTimeframe(name: string): Timeframe | undefined {
  const match = /^(\d{1,3})\s*([a-z]+)$/i.exec(name);
  if (match === null) return nearest(name, [...TIMEFRAMES]) as Timeframe | undefined;
  const [, digits = "", word = ""] = match;
  const lower = word.toLowerCase();
  const unit =
    word === "M" || lower.startsWith("mo") ? "M" : (lower.match(/^(?:s|m|h|d|w)/)?.[0] ?? "");
  const same: Readonly<Record<string, Timeframe>> = {
    "60m": "1h",
    "120m": "2h",
    "240m": "4h",
    "24h": "1d",
    "7d": "1w",
    "30d": "1M",
  };
  const spelt = `${Number(digits)}${unit}`;
  return isTimeframe(spelt) ? spelt : same[spelt];
}

const symbols = z.string().transform((text, context): string[] => {
  const names = list(text).map((name) => name.toUpperCase());
  complain(context, symbolMistakes(names));
  if (names.length === 0) {
    context.addIssue({ code: "custom", message: "name at least one, for example BTCUSDT" });
  }
  return names;
});

function* symbolMistakes(names: readonly string[]): Generator<string> {
  for (const name of names) {
    // Binance: ^[\w\-._&&[^a-z]]{1,50}$, and letters of any script since 2025-12-02 (binance.md §2.2, §3.6).
    if (/^[\p{L}\p{N}_.-]{1,50}$/u.test(name)) continue;
    const plain = name.replace(/[^\p{L}\p{N}]/gu, "");
    const isShort = plain !== "" && isShowable(name);
    yield `${shown(name)} is not a symbol; ${isShort ? `did you mean ${plain}?` : "write it like BTCUSDT"}`;
  }
  for (const name of repeated(names)) yield `${shown(name)} is listed twice; remove one`;
}

const choice = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.string().transform((text, context): T[number] => {
    const lower = text.toLowerCase();
    if (values.includes(lower)) return lower;
    const meant = nearest(lower, [...values]);
    context.addIssue({
      code: "custom",
      message: `${shown(text)} is not one of ${values.join(", ")}${meant === undefined ? "" : `; did you mean ${meant}?`}`,
    });
    return z.NEVER;
  });

const number = (what: string, least: number, most: number, isWhole: boolean) =>
  z.string().transform((text, context) => {
    const value = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most && (!isWhole || Number.isInteger(value))) return value;
    context.addIssue({
      code: "custom",
      message: `${shown(text)} is not ${what} from ${least} to ${most}`,
    });
    return z.NEVER;
  });

const baseUrl = (kinds: readonly string[]) =>
  z.string().transform((text, context) => {
    const url = URL.parse(text);
    const kind = url?.protocol.replace(":", "") ?? "";
    if (url === null || !kinds.includes(kind)) {
      context.addIssue({
        code: "custom",
        message: `${shown(text)} is not a ${kinds[0]}:// address`,
      });
    } else if (url.pathname !== "/" || url.search !== "" || url.hash !== "") {
      context.addIssue({ code: "custom", message: `give the base without a path: ${url.origin}` });
    } else if (url.username !== "" || url.password !== "") {
      context.addIssue({ code: "custom", message: "must not hold a user or password" });
    } else if (kind.endsWith("s") || isLoopback(url.hostname.replace(/^\[|\]$/g, ""))) {
      return `${url.protocol}//${url.host}`;
    } else {
      context.addIssue({ code: "custom", message: `only ${kinds[0]}:// may leave this machine` });
    }
    return z.NEVER;
  });

/** A URL of PostgreSQL may name a user and no host, which then comes as a parameter or from `PGHOST`; others may not. */
function parsePostgresUrl(text: string): URL | null {
  return URL.parse(text) ?? URL.parse(text.replace(/^([a-z]+:\/\/[^/?#]*@)(?=\/)/i, "$1localhost"));
}

const databaseUrl = z.string().transform((text, context) => {
  if (text === "") return undefined;
  if (text.length > MAX_URL_LENGTH) {
    context.addIssue({ code: "custom", message: `is longer than ${MAX_URL_LENGTH} characters` });
    return z.NEVER;
  }
  const url = parsePostgresUrl(text);
  if (url === null || !["postgres:", "postgresql:"].includes(url.protocol)) {
    context.addIssue({
      code: "custom",
      message:
        "is not of the form postgresql://user:password@host:5432/database (write @ : / # in a password as %40 %3A %2F %23)",
    });
    return z.NEVER;
  }
  if (url.pathname.includes("@")) {
    context.addIssue({
      code: "custom",
      message: "holds a password with / or @ in it: write them as %2F and %40",
    });
    return z.NEVER;
  }
  if (url.pathname.length < 2) {
    context.addIssue({
      code: "custom",
      message: "names no database; add one at the end: …/black_trade",
    });
    return z.NEVER;
  }
  return text;
});

const SCHEMA = z.object({
  DATABASE_URL: databaseUrl,
  INGESTION_MODE: choice(["websocket", "polling"]),
  TRADING_PAIRS: symbols,
  TIMEFRAMES: timeframes,
  BACKFILL_DAYS: z
    .string()
    .transform((text) => (text === "" ? undefined : text))
    .pipe(number("a number of days", 0.01, 20_000, false).optional()),
  DATA_DIR: z.string(),
  CSV_DIR: z.string(),
  CSV_MIRROR_DIR: z.string(),
  HTTP_HOST: z.string().regex(/^[\w.:-]+$/, "is not an address; use 127.0.0.1"),
  HTTP_PORT: number("a port", 0, 65_535, true),
  API_TOKEN: z.string().transform((text, context) => {
    if (text === "") return undefined;
    if (tokenBits(text) < MIN_TOKEN_BITS) {
      context.addIssue({
        code: "custom",
        message: "is too short or too plain; make one of 192 bits: openssl rand -base64 24",
      });
    } else if (!/^[\x21-\x7e]+$/.test(text)) {
      context.addIssue({
        code: "custom",
        message: "cannot be sent in a header; use letters, digits and - _ . ~ + /",
      });
    }
    return text;
  }),
  HTTP_ALLOWED_HOSTS: z.string().transform((text, context) => {
    const names = list(text).map((name) => name.toLowerCase());
    complain(
      context,
      names
        .filter((name) => !/^[a-z0-9.:-]+$/.test(name) || !URL.canParse(`http://${name}`))
        .map(
          (name) =>
            `${shown(name)} is not a host name; write it like candles.example.com, without http:// and port`,
        ),
    );
    return names;
  }),
  HTTP_ALLOWED_ORIGINS: z.string().transform((text, context) => {
    const origins = list(text);
    complain(
      context,
      origins
        .filter((origin) => URL.parse(origin)?.origin !== origin)
        .map(
          (origin) =>
            `${shown(origin)} is not an origin; write it like https://example.com, without a path; * is not allowed`,
        ),
    );
    return origins;
  }),
  WEBSOCKET_RECONNECT_DELAY: number("a number of seconds", 0.1, 60, false),
  LOG_LEVEL: choice(["debug", "info", "warn", "error", "silent"]),
  DB_ECHO: choice(["true", "false", "1", "0", "yes", "no"]).transform((text) =>
    ["true", "1", "yes"].includes(text),
  ),
  BINANCE_WS_URL: baseUrl(["wss", "ws"]),
  BINANCE_REST_URL: baseUrl(["https", "http"]),
  BINANCE_ARCHIVE_URL: baseUrl(["https", "http"]),
} satisfies Record<SettingName, z.ZodType>);
