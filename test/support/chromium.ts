import { existsSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";
import { testSetting } from "./postgres.ts";

const PLACES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** The system's Chromium, or that of `TEST_CHROMIUM`. */
export const CHROMIUM: string | undefined =
  testSetting("TEST_CHROMIUM") ?? PLACES.find((path) => existsSync(path));

/** For `test(…, { skip })`: `false`, or why there can be no browser. */
export const NO_CHROMIUM: string | false =
  CHROMIUM === undefined && "no Chromium here (TEST_CHROMIUM names one)";

/** A browser; root has no sandbox. */
export function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM ?? "", args: ["--no-sandbox"] });
}

/** A page that keeps everything that it complains of. */
export interface WatchedPage {
  readonly page: Page;
  readonly complaints: string[];
}

/** Opens a page; errors of scripts and breaches of its policy are kept. */
export async function openPage(
  browser: Browser,
  url: string,
  options: Parameters<Browser["newPage"]>[0] = {},
): Promise<WatchedPage> {
  const page = await browser.newPage(options);
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    // A request that fails is told of on the page itself.
    const isNetwork = message.text().startsWith("Failed to load resource");
    if (message.type() === "error" && !isNetwork) complaints.push(message.text());
  });
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await page.goto(url);
  return { page, complaints };
}
