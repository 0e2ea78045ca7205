import type { Face } from "../parts.ts";
import { candlesRoute } from "./candles.ts";
import { eventsRoute } from "./events.ts";
import { cancelJobRoute, getJobRoute, listJobsRoute, startJobRoute } from "./jobs.ts";
import { logRoute } from "./log.ts";
import { openApiDocument } from "./openapi.ts";
import { type ApiRoute, addRoute } from "./route.ts";
import { errorsRoute, seriesRoute, statusRoute, summaryRoute } from "./series.ts";
import { coverageRoute, gapsRoute, revisionsRoute, verificationRoute } from "./stored.ts";

/** Every operation, in the order of the description. */
export function apiRoutes(): readonly ApiRoute[] {
  return [
    candlesRoute,
    seriesRoute,
    statusRoute,
    summaryRoute,
    gapsRoute,
    coverageRoute,
    verificationRoute,
    revisionsRoute,
    eventsRoute(),
    listJobsRoute,
    startJobRoute,
    getJobRoute,
    cancelJobRoute,
    logRoute,
    errorsRoute,
  ];
}

/** `/api/v1/…` and `/openapi.json`. */
export const apiFace: Face = (server, context) => {
  // Only JSON is taken: a form of another site cannot send it.
  server.removeContentTypeParser("text/plain");
  const routes = apiRoutes();
  for (const one of routes) addRoute(server, context, one);
  const document = openApiDocument(routes, context.version);
  server.get("/openapi.json", { config: { isPublic: true } }, async () => document);
};
