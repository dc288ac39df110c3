import { on, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { besides, type Running, start } from './processes.ts';

const START_TRIES = 300;

const FIELDS = { title: 'title', h1: 'h1', h2: ['h2'] };

/** Every page's title and headings, and all links to pages. */
const page = (follow: string) => ({
  items: [{ type: 'page', fields: FIELDS }],
  follow: [{ selector: 'a[href]', allow: [{ regex: follow }] }],
});

/**
 * The fields that all contenders take, and the links that they follow: once in each way that the service knows.
 *
 * @param follow source of a regular expression: which URLs are followed
 */
export const SPIDERS = {
  css: (follow: string) => ({ pages: [page(follow)] }),
  /** The same and one that only a tree knows; by `cpu.ts` alone, since nobody else is asked for it. */
  tree: (follow: string) => ({
    pages: [{ ...page(follow), items: [{ type: 'page', fields: { ...FIELDS, last: 'p:last-of-type' } }] }],
  }),
  html5: (follow: string) => ({ pages: [page(follow)], settings: { parser: 'html5' } }),
  xpath: (follow: string) => ({
    pages: [
      {
        items: [
          { type: 'page', fields: { title: { xpath: '//title' }, h1: { xpath: '//h1' }, h2: [{ xpath: '//h2' }] } },
        ],
        follow: [{ xpath: '//a[@href]', allow: [{ regex: follow }] }],
      },
    ],
  }),
  script: (follow: string) => ({
    script: `
      export default {
        async *parse(response, ctx) {
          const text = (selection) => selection.text();
          yield { title: text(response.css('title')), h1: text(response.css('h1')), h2: response.css('h2').texts() };
          const pages = new RegExp(${JSON.stringify(follow)});
          for (const href of response.css('a[href]').attrs('href'))
            if (pages.test('/' + href.replace(/#.*/, ''))) yield ctx.follow(href);
        },
      };`,
  }),
};
/** One of `SPIDERS`. */
export type SpiderForm = keyof typeof SPIDERS;
const SETTINGS = { robots: false, delayMs: 0, concurrency: 32, concurrencyPerHost: 32 };

/** A running service, reached through its HTTP API alone. */
export interface Service extends Running {
  url: string;
}

/** What `GET /crawls/:id` gives, as far as the bench reads it. */
export interface CrawlState {
  id: string;
  state: string;
  stats: {
    discovered: number;
    queued: number;
    inProgress: number;
    done: number;
    failed: number;
    skipped: number;
    items: number;
  };
}

/**
 * Starts the service as `npm start` does, and waits until it is ready.
 *
 * @param flags of node, as `--cpu-prof`
 * @param settings environment variables beside the bench's own
 */
export async function startService(
  databaseUrl: string,
  dataDir: string,
  flags: string[] = [],
  settings: Record<string, string> = {},
): Promise<Service> {
  const manifest = JSON.parse(readFileSync(besides('../package.json'), 'utf8')) as { scripts: { start: string } };
  const words = manifest.scripts.start.split(' ');
  const node = words.indexOf('node');
  const variables = words.slice(0, Math.max(0, node)).map((word) => word.split('='));
  if (node < 0 || variables.some(({ length }) => length !== 2))
    throw new Error(`npm start is "${manifest.scripts.start}"; the bench expects [NAME=value …] node …`);
  const args = words.slice(node + 1);
  const port = await freePort();
  const root = besides('..');
  const running = start(
    process.execPath,
    ['--import', besides('loop_monitor.mjs'), ...flags, ...args.map((arg) => arg.replace(/^dist\//, `${root}dist/`))],
    {
      ...Object.fromEntries(variables),
      PORT: String(port),
      DATABASE_URL: databaseUrl,
      DATA_DIR: dataDir,
      EGRESS_ALLOW: '127.0.0.0/8',
      LOG_LEVEL: 'warn',
      ...settings,
    },
  );
  running.child.stdout!.resume();
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < START_TRIES && running.child.exitCode === null; tries++) {
    const ready = await fetch(`${url}/readyz`).catch(() => null);
    if (ready?.ok) return { ...running, url };
    await sleep(100);
  }
  await running.stop();
  throw new Error('the service did not become ready');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** One call of the API. @throws Error on a status of 400 and above */
export async function call<T>(service: Service, method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(service.url + path, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return JSON.parse(text) as T;
}

/** Starts a crawl with one of the bench's spiders. @param settings beside or instead of the bench's own */
export function startCrawl(
  service: Service,
  startUrls: string[],
  settings: object = {},
  spider: object = SPIDERS.css('\\.html$'),
): Promise<CrawlState> {
  return call<CrawlState>(service, 'POST', '/crawls', { spider, startUrls, settings: { ...SETTINGS, ...settings } });
}

/** One crawl as its client saw it. */
export interface Crawled {
  crawl: CrawlState;
  /** From the POST to the end of the item stream. */
  seconds: number;
  /** The stream's lines. */
  lines: string[];
  /** When each line had come, in milliseconds since the epoch. */
  arrivals: number[];
}

/** Starts a crawl, reads its item stream from the first byte to the end. @param settings beside the bench's own */
export async function crawl(
  service: Service,
  startUrls: string[],
  settings: object = {},
  spider: object = SPIDERS.css('\\.html$'),
): Promise<Crawled> {
  const started = performance.now();
  const { id } = await startCrawl(service, startUrls, settings, spider);
  const [response] = (await once(
    get(`${service.url}/crawls/${id}/items`, { headers: { accept: 'application/x-ndjson' } }),
    'response',
  )) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`item stream: ${response.statusCode}`);
  const chunks: Buffer[] = [];
  const arrivals: number[] = [];
  response.on('data', (chunk: Buffer) => {
    const now = Date.now();
    chunks.push(chunk);
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) arrivals.push(now);
  });
  await once(response, 'end');
  const seconds = (performance.now() - started) / 1000;
  const lines = Buffer.concat(chunks).toString().split('\n').filter(Boolean);
  return { crawl: await call<CrawlState>(service, 'GET', `/crawls/${id}`), seconds, lines, arrivals };
}

/** The 99th percentile of the event-loop delay since the last call, or the start, in milliseconds: see loop_monitor.mjs. */
export async function takeLoopDelayP99Ms(service: Service): Promise<number> {
  const printed = (async () => {
    for await (const [chunk] of on(service.child.stdout!, 'data')) {
      const line = /\{"loopDelayP99Ms":.*\}/.exec(String(chunk));
      if (line !== null) return (JSON.parse(line[0]) as { loopDelayP99Ms: number }).loopDelayP99Ms;
    }
    throw new Error('no loop delay');
  })();
  service.child.kill('SIGUSR2');
  return printed;
}

/** Cancels a crawl and waits, at most a minute, until it has ended. */
export async function stopCrawl(service: Service, id: string): Promise<CrawlState> {
  await call(service, 'POST', `/crawls/${id}/cancel`);
  for (let tries = 0; tries < 600; tries++) {
    const crawl = await call<CrawlState>(service, 'GET', `/crawls/${id}`);
    if (['finished', 'cancelled', 'failed'].includes(crawl.state)) return crawl;
    await sleep(100);
  }
  throw new Error('the crawl does not end');
}
