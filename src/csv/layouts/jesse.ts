import { columnsOf, isHeader, type Layout, type Sample } from "../layout.ts";
import { namedSeries } from "../names.ts";

const COLUMNS = columnsOf(["openTime", "open", "close", "high", "low", "volume"]);

/** Jesse's candles: `timestamp, open, close, high, low, volume`, in this order, also without a header. */
export const jesse: Layout = {
  name: "jesse",
  title: "Jesse: `timestamp,open,close,high,low,volume` (close before high)",
  recognise(sample) {
    const isHeaded = isHeader(sample, ["timestamp", "open", "close", "high", "low", "volume"]);
    if (!isHeaded && !isBare(sample)) return undefined;
    return { layout: "jesse", columns: COLUMNS, units: ["ms"], ...namedSeries(sample.name) };
  },
};

/** Six numbers of which the fourth is the highest and the fifth the lowest in every row, and not the third and fourth. */
function isBare({ header, kind, rows }: Sample): boolean {
  if (header !== undefined || kind !== "text" || rows.length < 3) return false;
  const isOrder = (high: number, low: number): boolean =>
    rows.every((cells) => {
      const prices = cells.slice(1, 5).map(Number);
      return (
        cells.length === 6 &&
        /^\d{13}$/.test(cells[0] ?? "") &&
        prices[high] === Math.max(...prices) &&
        prices[low] === Math.min(...prices)
      );
    });
  return isOrder(2, 3) && !isOrder(1, 2);
}
