/**
 * `npm run demo`: starts the service and a small shop on loopback, crawls the shop, shows the items as they come, and
 * says what happened to every URL. `npm run demo -- --keep` leaves both up for your own requests until Ctrl-C.
 */
import type { Crawl, StartCrawl } from '../dist/model/crawl.js';
import type { Stats } from '../dist/routes/components.js';
import { type Service, startService } from './service.ts';
import { type Shop, startShop } from './shop.ts';
import { shopCrawl } from './spider.ts';
import { Terminal } from './terminal.ts';

const POLL_MS = 200;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const keep = process.argv.includes('--keep');
const terminal = new Terminal(process.stdout);

interface Item {
  data: { sku: string };
}

async function getJson<T>(url: string, init?: RequestInit): Promise<T> {
  const response = await fetch(url, init);
  if (!response.ok) throw new Error(`${url}: status ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}

function startCrawl(service: string, body: StartCrawl): Promise<Crawl> {
  const headers = { 'content-type': 'application/json' };
  return getJson<Crawl>(`${service}/crawls`, { method: 'POST', headers, body: JSON.stringify(body) });
}

/** Reads the item stream to its end, a line at a time, showing each. */
async function showItems(url: string): Promise<Item[]> {
  const response = await fetch(url, { headers: { accept: 'application/x-ndjson' } });
  const items: Item[] = [];
  let rest = '';
  for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      items.push(JSON.parse(line) as Item);
      terminal.item(line);
    }
  }
  return items;
}

/** Asks for the crawl's counters until the returned function is called. */
function showProgress(url: string): () => void {
  const timer = setInterval(async () => {
    const crawl = await getJson<Crawl>(url).catch(() => null);
    if (crawl === null) return;
    const { done, queued, inProgress, failed, skipped, items } = crawl.stats;
    const now = `${done} pages, ${items} items; ${queued} queued, ${inProgress} in progress`;
    terminal.progress(`── ${crawl.state}: ${now}, ${failed} failed, ${skipped} skipped`);
  }, POLL_MS);
  return () => clearInterval(timer);
}

function listed(counts: Record<string, number>): string {
  const words = Object.entries(counts).flatMap(([word, n]) => (n > 0 ? [`${n} ${word}`] : []));
  return words.length === 0 ? 'none' : words.join(', ');
}

async function showSummary(crawl: string, shop: Shop): Promise<void> {
  const stats = await getJson<Stats>(`${crawl}/stats`);
  const { discovered, done, failed, skipped, items, dropped } = stats.counts;
  const staff = `${shop.url}/admin/login`;
  const why = await getJson<{ explanation: string }>(`${crawl}/requests/why?url=${encodeURIComponent(staff)}`);
  terminal.line(`
The crawl is ${stats.state} (${stats.stopReason}) after ${stats.seconds.toFixed(1)} s: ${stats.pagesPerSecond} pages/s.
  URLs      ${discovered} discovered = ${done} done + ${failed} failed + ${skipped} skipped
  reasons   ${listed(stats.byReason)}
  statuses  ${listed(stats.byStatus)}
  items     ${items} stored, ${dropped} dropped (${listed(stats.dropped)})
  why       ${staff}: ${why.explanation}
`);
}

/** JSON for people: what fits into a line stands on one. */
function readable(value: unknown, indent = ''): string {
  const short = JSON.stringify(value);
  if (short.length + indent.length <= 110 || typeof value !== 'object' || value === null) return short;
  const inner = `${indent}  `;
  if (Array.isArray(value)) return `[\n${value.map((one) => inner + readable(one, inner)).join(',\n')}\n${indent}]`;
  const members = Object.entries(value).map(([key, one]) => `${inner}${JSON.stringify(key)}: ${readable(one, inner)}`);
  return `{\n${members.join(',\n')}\n${indent}}`;
}

/** The same by hand. */
function showCommands(service: string, shop: string): void {
  const body = readable(shopCrawl(shop));
  terminal.line(`id=$(curl -s ${service}/crawls -H 'content-type: application/json' -d @- <<'SPIDER' | sed 's/^{"id":"\\([^"]*\\)".*/\\1/'
${body}
SPIDER
)
curl -N ${service}/crawls/$id/items
curl ${service}/crawls/$id/stats
curl -G ${service}/crawls/$id/requests/why --data-urlencode 'url=${shop}/admin/login'
`);
}

/** Every product with a price, once: what the spider must find. */
function isWhole(items: readonly Item[], shop: Shop): boolean {
  const expected = shop.products.filter((product) => product.price !== null).map((product) => product.sku);
  const found = new Set(items.map((item) => item.data.sku));
  const whole = items.length === expected.length && expected.every((sku) => found.has(sku));
  if (whole) terminal.line(`All ${expected.length} products with a price are there, each once.\n`);
  else terminal.line(`There are ${items.length} items; the shop has ${expected.length} products with a price.\n`);
  return whole;
}

async function crawlShop(service: Service, shop: Shop): Promise<boolean> {
  const crawl = await startCrawl(service.url, shopCrawl(shop.url));
  const url = `${service.url}/crawls/${crawl.id}`;
  terminal.line(`Crawl ${crawl.id}; its items as they are committed:\n`);
  const stop = showProgress(url);
  const items = await showItems(`${url}/items`).finally(stop);
  terminal.clear();
  await showSummary(url, shop);
  return isWhole(items, shop);
}

/** @returns the exit code */
async function run(service: Service, shop: Shop, interrupted: Promise<void>): Promise<number> {
  terminal.line(`Orbweaver listens on ${service.url}, the shop on ${shop.url}.`);
  const whole = await crawlShop(service, shop);
  if (keep) {
    terminal.line('The same by hand:\n');
    showCommands(service.url, shop.url);
    terminal.line(`The service and the shop stay up until Ctrl-C. API docs: ${service.url}/docs`);
    await Promise.race([interrupted, service.ended]);
  } else {
    terminal.line(
      'The same by hand, with a service (`npm start`) and a shop of your own; `npm run demo -- --keep` leaves both up:\n',
    );
    showCommands('http://127.0.0.1:3000', 'https://shop.example');
  }
  return whole ? 0 : 1;
}

/** Starts both, runs, and stops both in any case; a signal ends it early, but not before what is starting has started. */
async function demo(): Promise<number> {
  const { promise: interrupted, resolve } = Promise.withResolvers<void>();
  for (const signal of SIGNALS) process.on(signal, () => resolve());
  terminal.line('Starting the service with a database of its own, and a shop …');
  const shop = await startShop();
  const service = await startService();
  try {
    const aborted = interrupted.then(() => (keep ? 0 : 130));
    return await Promise.race([run(service, shop, interrupted), aborted]);
  } finally {
    terminal.clear();
    terminal.line('Stopping both …');
    await service.stop();
    await shop.close();
  }
}

try {
  process.exit(await demo());
} catch (error) {
  console.error(`demo: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
