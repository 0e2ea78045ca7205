import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import type { VersionedCandle } from "../src/core/finality.ts";
import type { Series } from "../src/core/series.ts";
import { TcpProxy } from "./chaos/tcp-proxy.ts";
import { type ApiStack, candleAt, startApi, TOKEN, versionOf } from "./support/api-stack.ts";
import { launch, NO_CHROMIUM, openPage, type WatchedPage } from "./support/chromium.ts";
import { withDatabase } from "./support/postgres.ts";

const MINUTE = 60_000;
const HOSTILE = "<IMG SRC=X ONERROR=ALERT(1)>";
const BTC = series("BTCUSDT", "1m");
const ETH = series("ETHUSDT", "1h");
const XSS = series(HOSTILE, "1m");
const SLOW = { timeout: 20_000 };

function series(symbol: string, timeframe: Series["timeframe"]): Series {
  return { exchange: "binance", symbol, timeframe };
}

interface Scene extends WatchedPage {
  readonly api: ApiStack;
  readonly proxy: TcpProxy;
  /** Open time of the newest candle that is stored. */
  readonly newest: number;
}

/** Two hours of 1m with ten minutes missing, a day of 1h, and a symbol that looks like markup. */
async function fill({ store }: ApiStack, now: number): Promise<number> {
  const newest = Math.floor(now / MINUTE) * MINUTE - MINUTE;
  const all = [BTC, ETH, XSS];
  await store.begin({ mode: "websocket", host: "here", pid: 1 }, all);
  await store.want(
    all.map((one) => ({ series: one, wantedFrom: newest - 120 * MINUTE })),
    now,
  );
  const minutes = Array.from({ length: 1_400 }, (_, index) => newest - (1_399 - index) * MINUTE);
  const isThere = (time: number): boolean =>
    time <= newest - 40 * MINUTE || time > newest - 30 * MINUTE;
  const hour = 60 * MINUTE;
  const hours = Array.from(
    { length: 24 },
    (_, index) => Math.floor(newest / hour) * hour - (24 - index) * hour,
  );
  await store.write(
    minutes
      .filter(isThere)
      .map((time, index) => versionOf(BTC, time, "stream", `${100 + (index % 50)}.50`)),
    [],
  );
  await store.write(
    hours.map((time) => versionOf(ETH, time)),
    [],
  );
  await store.write([versionOf(XSS, newest)], []);
  await store.open([
    {
      series: BTC,
      range: { from: newest - 39 * MINUTE, to: newest - 29 * MINUTE },
      reason: "not-fetched",
      state: "open",
      foundTime: now,
      emptyAnswers: 0,
      nextTryTime: now + 60_000,
    },
  ]);
  return newest;
}

describe("the dashboard in Chromium", { skip: NO_CHROMIUM }, () => {
  let browser: Browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());

  async function onPage(
    work: (scene: Scene) => Promise<void>,
    options: {
      token?: string;
      hash?: string;
      isIngesting?: boolean;
      page?: Parameters<Browser["newPage"]>[0];
    } = {},
  ): Promise<void> {
    await withDatabase(async (database) => {
      const { token, isIngesting = true } = options;
      const api = await startApi(database.url, {
        isIngesting,
        ...(token === undefined ? {} : { token }),
      });
      const proxy = await TcpProxy.to({ host: "127.0.0.1", port: Number(new URL(api.url).port) });
      try {
        const newest = await fill(api, Date.now());
        const hash = options.hash ?? "BTCUSDT/1m";
        const watched = await openPage(
          browser,
          `http://127.0.0.1:${proxy.port}/#${hash}`,
          options.page,
        );
        await work({ ...watched, api, proxy, newest });
        assert.deepEqual(watched.complaints, []);
        await watched.page.close();
      } finally {
        await proxy.close();
        await api.close();
      }
    });
  }

  const linkSays = (page: Page, state: string): Promise<unknown> =>
    page.locator(`#link[data-state="${state}"]`).waitFor(SLOW);
  const candleSays = (page: Page, text: string): Promise<unknown> =>
    page.locator("#candle", { hasText: text }).waitFor(SLOW);

  test("a candle that is stored shows at once, and one that forms, digit for digit", async () => {
    await onPage(async ({ page, api, newest }) => {
      await linkSays(page, "live");
      await candleSays(page, "H 99999999999.123456789012345678");
      const next = newest + MINUTE;
      api.feed.takeLive({
        kind: "candle",
        series: BTC,
        candle: {
          ...candleAt(BTC, next + MINUTE, "7.070707070707070707"),
          openTime: next + MINUTE,
        },
        isClosed: false,
        eventTime: next + MINUTE + 1_000,
      });
      await candleSays(page, "C 7.070707070707070707");
      assert.match((await page.locator("#candle").textContent()) ?? "", /forming$/);
      await api.store.write([versionOf(BTC, next, "stream", "123.456000000000000001")], []);
      await page.getByText("Newest candles as a table").click();
      await page.locator("#rows tr", { hasText: "123.456000000000000001" }).waitFor(SLOW);
    });
  });

  test("missing candles are marked in the chart, and only there where some are missing", async () => {
    await onPage(async ({ page }) => {
      await candleSays(page, "C ");
      assert.ok((await pixelsOf(page, "--gap-band")) > 500, "a band over the gap");
      await page.getByLabel("Symbol").selectOption("ETHUSDT");
      await page.getByRole("heading", { name: "ETHUSDT 1h" }).waitFor(SLOW);
      await candleSays(page, "C 1.50");
      assert.equal(await pixelsOf(page, "--gap-band"), 0);
    });
  });

  test("of thousands of series those are shown that need a look, and the page asks for no more", async () => {
    await onPage(async ({ page, api }) => {
      await linkSays(page, "live");
      await candleSays(page, "C ");
      const asked: URL[] = [];
      page.on("request", (request) => asked.push(new URL(request.url())));
      const many = Array.from({ length: 3_000 }, (_, index) => ({
        ...BTC,
        symbol: `S${String(index).padStart(4, "0")}USDT`,
      }));
      await api.store.begin({ mode: "websocket", host: "here", pid: 1 }, [BTC, ...many]);
      const said = page.locator("#series-more");
      await said.getByText("100 of 3,001 series").waitFor(SLOW);
      assert.equal(await page.locator("#series .state").count(), 100);
      assert.match((await page.locator("#tiles").textContent()) ?? "", /of 3,001/);
      await page.locator("#find").fill("s2999usdt");
      await page.locator("#series button", { hasText: "S2999USDT 1m" }).waitFor(SLOW);
      assert.equal(await page.locator("#series .state").count(), 1);
      assert.equal(await said.isVisible(), false);
      await page.locator("#series button").click();
      await page.getByRole("heading", { name: "S2999USDT 1m" }).waitFor(SLOW);
      await page.waitForTimeout(6_000);
      assert.equal(await page.locator("#link").getAttribute("data-state"), "live");
      assert.equal(await page.locator("#coverage-problem").isVisible(), false);
      const of = (path: string): URL[] => asked.filter(({ pathname }) => pathname === path);
      // Nothing that it asks for again and again grows with the number of series.
      assert.ok(
        of("/api/v1/status").every(({ searchParams }) => searchParams.get("limit") === "100"),
      );
      assert.ok(of("/metrics").length > 0);
      assert.ok(of("/metrics").every(({ searchParams }) => searchParams.has("name[]")));
      assert.ok(of("/api/v1/events").length >= 1);
      assert.ok(of("/api/v1/events").every(({ searchParams }) => searchParams.has("series")));
      assert.ok(of("/api/v1/series").length <= 2);
    });
  });

  test("what is stored while another series is opened shows there", async () => {
    await onPage(async ({ page, api, newest }) => {
      const ETH_NEXT = Math.floor(newest / (60 * MINUTE)) * 60 * MINUTE;
      await linkSays(page, "live");
      await candleSays(page, "C ");
      await page.getByText("Newest candles as a table").click();
      // After the picture is read, and before the stream of the series begins.
      const between = async (version: VersionedCandle): Promise<void> => {
        const { symbol } = version.series;
        const isRead = page.waitForResponse((response) => {
          const { pathname, searchParams } = new URL(response.url());
          return pathname === "/api/v1/candles" && searchParams.get("symbol") === symbol;
        });
        await page.route("**/api/v1/events?*", async (route) => {
          await (await isRead).finished();
          await api.store.write([version], []);
          await route.continue();
        });
      };
      await between(versionOf(XSS, newest + MINUTE, "stream", "77.125"));
      await page.locator("#series button", { hasText: HOSTILE }).click();
      await page.locator("#rows tr", { hasText: "77.125" }).waitFor(SLOW);
      await api.store.write([versionOf(BTC, newest + MINUTE, "stream", "88.125")], []);
      await page.unroute("**/api/v1/events?*");
      // One that the stream tells says nothing of those before it.
      const asked = Promise.withResolvers<void>();
      const held = Promise.withResolvers<void>();
      await page.route(/api\/v1\/candles\?.*symbol=ETHUSDT.*&from=/, async (route) => {
        asked.resolve();
        await held.promise;
        await route.continue();
      });
      await between(versionOf(ETH, ETH_NEXT, "stream", "66.125"));
      await page.locator("#series button", { hasText: "ETHUSDT 1h" }).click();
      // What the stream did not tell is asked for once it is ready.
      await asked.promise;
      await api.store.write([versionOf(ETH, ETH_NEXT + 60 * MINUTE, "stream", "67.125")], []);
      await page.locator("#rows tr", { hasText: "67.125" }).waitFor(SLOW);
      assert.equal(await page.locator("#rows tr", { hasText: "66.125" }).count(), 0);
      held.resolve();
      await page.locator("#rows tr", { hasText: "66.125" }).waitFor(SLOW);
      await page.unrouteAll();
      await page.locator("#series button", { hasText: "BTCUSDT 1m" }).click();
      await page.locator("#rows tr", { hasText: "88.125" }).waitFor(SLOW);
      await api.store.write([versionOf(BTC, newest + 2 * MINUTE, "stream", "99.125")], []);
      await page.locator("#rows tr", { hasText: "99.125" }).waitFor(SLOW);
    });
  });

  test("a symbol that looks like markup is text", async () => {
    await onPage(
      async ({ page }) => {
        await page.getByRole("heading", { name: `${HOSTILE} 1m` }).waitFor(SLOW);
        assert.equal(await page.locator("#series button", { hasText: HOSTILE }).count(), 1);
        assert.equal(await page.locator("img:not(header img)").count(), 0);
      },
      { hash: `${encodeURIComponent(HOSTILE)}/1m` },
    );
  });

  test("a lost connection shows, and what was missed is there when it is back", async () => {
    await onPage(async ({ page, api, proxy, newest }) => {
      await linkSays(page, "live");
      proxy.set({ isRefusing: true });
      proxy.reset();
      // Both at one look: the page tries again meanwhile.
      const says = { hasText: /^disconnected since .* UTC: / };
      await page.locator('#link[data-state="lost"]', says).waitFor(SLOW);
      await api.store.write([versionOf(BTC, newest + MINUTE, "stream", "321.10")], []);
      proxy.set({});
      await linkSays(page, "live");
      await candleSays(page, "C 321.10");
    });
  });

  test("without the token nothing is shown, and the page asks for it", async () => {
    await onPage(
      async ({ page }) => {
        await linkSays(page, "locked");
        assert.equal(await page.locator("#series tr").count(), 0);
        await page
          .getByRole("textbox", { name: "Token" })
          .fill("wrong-wrong-wrong-wrong-wrong-wro");
        await page.keyboard.press("Enter");
        await linkSays(page, "locked");
        await page.getByRole("textbox", { name: "Token" }).fill(TOKEN);
        await page.keyboard.press("Enter");
        await linkSays(page, "live");
        await candleSays(page, "C ");
        assert.ok(!page.url().includes(TOKEN), "never in a URL");
      },
      { token: TOKEN },
    );
  });

  test("a wrong token is sent once and named wrong; the right one opens at once", async () => {
    await onPage(
      async ({ page }) => {
        await linkSays(page, "locked");
        const field = page.getByRole("textbox", { name: "Token" });
        let wrong = 0;
        page.on("request", (request) => {
          if (request.headers().authorization?.startsWith("Bearer wrong")) wrong += 1;
        });
        await field.fill("wrong-wrong-wrong-wrong-wrong-wro");
        await page.keyboard.press("Enter");
        await page.getByText("That token is wrong.").waitFor(SLOW);
        await page.waitForTimeout(6_000);
        // What was under way when the first answer came may be a few more.
        assert.ok(wrong <= 4, `${wrong} requests with the wrong token`);
        await field.fill("пароль");
        await page.keyboard.press("Enter");
        await page.getByText("That token is wrong.").waitFor(SLOW);
        await field.fill(` ${TOKEN}`);
        await page.keyboard.press("Enter");
        await linkSays(page, "live");
      },
      { token: TOKEN },
    );
  });

  test("a state that is not known is not shown as the last one known", async () => {
    await onPage(async ({ page }) => {
      await linkSays(page, "live");
      await page.locator("#series .state").first().waitFor(SLOW);
      const detail = "the database does not answer";
      await page.route("**/api/v1/status?*", (route) =>
        route.fulfill({ status: 503, json: { detail } }),
      );
      await page.locator("#series-problem", { hasText: detail }).waitFor(SLOW);
      const states = await page.locator("#series .state").allTextContents();
      assert.deepEqual([...new Set(states)], ["unknown"]);
      assert.match((await page.locator("#tiles").textContent()) ?? "", /Active seriesunknown/);
      await page.unroute("**/api/v1/status?*");
      await page.locator("#series .state", { hasNotText: "unknown" }).first().waitFor(SLOW);
    });
  });

  test("many candles at once: those after the newest show, and the picture stays where it is", async () => {
    await onPage(async ({ page, api, newest }) => {
      await linkSays(page, "live");
      await candleSays(page, "C ");
      const opened = page.waitForResponse((one) => /candles\?.*&from=.*&to=/.test(one.url()), SLOW);
      const fresh = Array.from({ length: 150 }, (_, index) => newest + (index + 1) * MINUTE);
      await api.store.write(
        fresh.map((time) => versionOf(BTC, time, "rest", "55.5")),
        [{ series: BTC, next: newest + 151 * MINUTE }],
      );
      const { candles } = (await (await opened).json()) as { candles: unknown[] };
      assert.equal(candles.length, 150);
      await page.getByText("Newest candles as a table").click();
      await page.locator("#rows tr", { hasText: "55.5" }).first().waitFor(SLOW);
    });
  });

  test("a program that only serves shows no figures of an ingester that it does not know", async () => {
    await onPage(
      async ({ page }) => {
        const asked: string[] = [];
        page.on("request", (request) => asked.push(new URL(request.url()).pathname));
        await page.locator("#tiles", { hasText: "only serves" }).waitFor(SLOW);
        await page.waitForTimeout(6_000);
        assert.ok(!asked.includes("/metrics"));
      },
      { isIngesting: false },
    );
  });

  test("an address that is cut in the middle of a name opens the first series", async () => {
    await onPage(
      async ({ page }) => {
        await candleSays(page, "C ");
      },
      { hash: "%E5%B8/1m" },
    );
  });

  test("going back, by keyboard, fetches what is older", async () => {
    await onPage(async ({ page, newest }) => {
      await candleSays(page, "C ");
      const older = page.waitForResponse(
        (response) => /candles\?.*&to=/.test(response.url()),
        SLOW,
      );
      await page.getByRole("application", { name: /Candlestick chart/ }).focus();
      await page.keyboard.press("Home");
      const { candles } = (await (await older).json()) as { candles: { openTime: number }[] };
      assert.ok((candles[0]?.openTime ?? newest) <= newest - 1_390 * MINUTE, "the oldest is there");
    });
  });

  test("by keyboard: the coverage map says what a day holds, and opens it", async () => {
    await onPage(async ({ page, newest }) => {
      const map = page.getByRole("application", { name: /Coverage of every series/ });
      await page.locator("#coverage .said", { hasText: "stored" }).waitFor(SLOW);
      await map.focus();
      await page.keyboard.press("End");
      const day = new Date(newest).toISOString().slice(0, 10);
      await page.locator("#coverage .said", { hasText: day }).waitFor(SLOW);
      await page.keyboard.press("ArrowDown");
      const said = (await page.locator("#coverage .said").textContent()) ?? "";
      const [symbol = "", timeframe = ""] = said.split(/[ ,]/);
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: `${symbol} ${timeframe}` }).waitFor(SLOW);
      assert.equal(await page.evaluate("document.activeElement.id"), "chart-title");
    });
  });

  test("on a phone nothing lies outside of the screen, light and dark", async () => {
    for (const colorScheme of ["light", "dark"] as const) {
      await onPage(
        async ({ page }) => {
          await candleSays(page, "C ");
          const [width, inner] = (await page.evaluate(
            "[document.documentElement.scrollWidth, innerWidth]",
          )) as number[];
          assert.ok((width ?? 0) <= (inner ?? 0), `${width} px wide on ${inner}`);
          const background = await page.evaluate<string>(
            "getComputedStyle(document.body).backgroundColor",
          );
          const isDark = Number(/\d+/.exec(background)?.[0]) < 128;
          assert.equal(isDark, colorScheme === "dark");
        },
        { page: { viewport: { width: 360, height: 740 }, colorScheme } },
      );
    }
  });
});

/** How many pixels of the chart have a colour of the style sheet, which is made a striking one for this. */
async function pixelsOf(page: Page, property: string): Promise<number> {
  await page.evaluate(`
    document.documentElement.style.setProperty("${property}", "rgb(255, 0, 255)");
    document.querySelector("#theme").dispatchEvent(new Event("change"));`);
  await page.waitForTimeout(300);
  return page.evaluate<number>(`
    [...document.querySelectorAll("#chart canvas")]
      .filter(({ width, height }) => width > 0 && height > 0)
      .flatMap((canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return Array.from({ length: data.length / 4 }, (_, at) => data.subarray(4 * at, 4 * at + 3));
      })
      .filter(([red, green, blue]) => red > 230 && green < 60 && blue > 230).length`);
}
