import { type Candle, DECIMAL_FIELDS } from "./candle.ts";
import { DecimalColumn } from "./decimal-column.ts";

/**
 * Candles as columns, ascending by open time, index for index: a million of them cost no million objects. Whoever gives blocks
 * one after the other may fill the same memory again: a block is its reader's until it asks for the next one.
 */
export interface CandleBlock {
  /** Rows in use; the columns may have room for more. */
  readonly rowCount: number;
  /** Epoch ms. */
  readonly openTime: Float64Array;
  /** Epoch ms, the last of the candle. */
  readonly closeTime: Float64Array;
  readonly tradeCount: Int32Array;
  readonly decimals: Readonly<Record<(typeof DECIMAL_FIELDS)[number], DecimalColumn>>;
}

/** The columns of the decimals, empty. */
export function decimalColumns(capacity: number): CandleBlock["decimals"] {
  const columns = DECIMAL_FIELDS.map((field) => [field, new DecimalColumn(capacity)]);
  return Object.fromEntries(columns) as CandleBlock["decimals"];
}

/** Candles as a block. */
export function blockOf(candles: readonly Candle[]): CandleBlock {
  const decimals = decimalColumns(candles.length);
  for (const field of DECIMAL_FIELDS) {
    for (const [row, candle] of candles.entries()) decimals[field].putText(row, candle[field]);
  }
  return {
    rowCount: candles.length,
    openTime: Float64Array.from(candles, ({ openTime }) => openTime),
    closeTime: Float64Array.from(candles, ({ closeTime }) => closeTime),
    tradeCount: Int32Array.from(candles, ({ tradeCount }) => tradeCount),
    decimals,
  };
}

/** Candle for candle what a block holds; written out, as it is made millions of times. */
export function candlesOf({ rowCount, openTime, closeTime, tradeCount, decimals }: CandleBlock) {
  const open = decimals.open.texts(rowCount);
  const high = decimals.high.texts(rowCount);
  const low = decimals.low.texts(rowCount);
  const close = decimals.close.texts(rowCount);
  const volume = decimals.volume.texts(rowCount);
  const quoteVolume = decimals.quoteVolume.texts(rowCount);
  const takerBuyVolume = decimals.takerBuyVolume.texts(rowCount);
  const takerBuyQuoteVolume = decimals.takerBuyQuoteVolume.texts(rowCount);
  const candles: Candle[] = [];
  for (let row = 0; row < rowCount; row += 1) {
    candles.push({
      openTime: openTime[row] as number,
      closeTime: closeTime[row] as number,
      open: open[row] as string,
      high: high[row] as string,
      low: low[row] as string,
      close: close[row] as string,
      volume: volume[row] as string,
      quoteVolume: quoteVolume[row] as string,
      tradeCount: tradeCount[row] as number,
      takerBuyVolume: takerBuyVolume[row] as string,
      takerBuyQuoteVolume: takerBuyQuoteVolume[row] as string,
    });
  }
  return candles;
}
