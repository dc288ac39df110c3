import { cacheRoutes } from './cache.ts';
import { crawlRoutes } from './crawls.ts';
import { deliveryRoutes } from './deliveries.ts';
import type { App, RouteDeps } from './deps.ts';
import { eventRoutes } from './events.ts';
import { exportRoutes } from './exports.ts';
import { itemRoutes } from './items.ts';
import { ledgerRoutes } from './ledger.ts';
import { logRoutes } from './logs.ts';
import { previewRoutes } from './preview.ts';
import { scheduleRoutes } from './schedules.ts';
import { spiderRoutes } from './spiders.ts';
import { statsRoutes } from './stats.ts';

/** Everything that a client may ask. */
export function apiRoutes(app: App, deps: RouteDeps): void {
  for (const routes of [
    crawlRoutes,
    itemRoutes,
    ledgerRoutes,
    statsRoutes,
    eventRoutes,
    logRoutes,
    spiderRoutes,
    previewRoutes,
    scheduleRoutes,
    cacheRoutes,
    exportRoutes,
    deliveryRoutes,
  ])
    routes(app, deps);
}
