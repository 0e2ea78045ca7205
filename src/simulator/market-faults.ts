import type { ActiveFault, Fault, Faults } from "./faults.ts";
import type { Market, MarketSymbol, Outage } from "./market.ts";

/**
 * Lets the faults that concern the market itself reach it. A window in which nothing was traded stays in history after its
 * fault is cleared: those candles never existed.
 */
export function connectMarket(market: Market, faults: Faults): void {
  const past: Outage[] = [];
  const running = new Map<number, Outage>();
  faults.onChange((change) => {
    if (change.kind === "action") return;
    const { active } = change;
    if (active.fault.kind === "corrections") {
      market.setCorrections(
        change.kind === "set"
          ? { share: active.fault.share, delayMs: active.fault.delayMs, since: active.setAt }
          : undefined,
      );
    }
    const window = closedBy(active);
    if (window === undefined) return;
    if (change.kind === "set") running.set(active.id, window);
    else {
      running.delete(active.id);
      past.push({ ...window, to: change.at });
    }
    market.setOutages([...past, ...running.values()]);
  });
}

/** A symbol's entry as exchangeInfo tells it now, or `undefined` when it does not list it. */
export function listedAs(
  info: MarketSymbol,
  faults: Faults,
  listsDelisted: boolean,
): MarketSymbol | undefined {
  const names = (fault: { readonly symbol: string }): boolean => fault.symbol === info.symbol;
  const status = faults.find("symbolStatus", names)?.status;
  if (status !== undefined) return { ...info, status };
  if (faults.find("delist", names) === undefined) return info;
  return listsDelisted ? { ...info, status: "BREAK" } : undefined;
}

function closedBy({ fault, setAt, until }: ActiveFault): Outage | undefined {
  const symbols = symbolsClosedBy(fault);
  if (symbols === undefined) return undefined;
  const window = { from: setAt, to: until ?? Number.POSITIVE_INFINITY };
  return symbols === "all" ? window : { ...window, symbols };
}

function symbolsClosedBy(fault: Fault): readonly string[] | "all" | undefined {
  switch (fault.kind) {
    case "outage":
      return fault.symbols ?? "all";
    case "delist":
      return [fault.symbol];
    case "symbolStatus":
      return fault.status === "TRADING" ? undefined : [fault.symbol];
    default:
      return undefined;
  }
}
