import type { Layout } from "../layout.ts";
import { backtrader } from "./backtrader.ts";
import { binanceArchive } from "./binance-archive.ts";
import { binanceRest } from "./binance-rest.ts";
import { coinMarketCap } from "./coinmarketcap.ts";
import { cryptoDataDownload } from "./cryptodatadownload.ts";
import { freqtrade } from "./freqtrade.ts";
import { headed } from "./headed.ts";
import { jesse } from "./jesse.ts";
import { kaggle } from "./kaggle.ts";
import { own } from "./own.ts";
import { tradingView } from "./tradingview.ts";
import { yahoo } from "./yahoo.ts";
import { zipline } from "./zipline.ts";

/** Asked in this order; the last one takes any header that leaves no doubt. */
export const LAYOUTS: readonly Layout[] = [
  own,
  binanceArchive,
  binanceRest,
  freqtrade,
  kaggle,
  cryptoDataDownload,
  coinMarketCap,
  tradingView,
  yahoo,
  jesse,
  zipline,
  backtrader,
  headed,
];
