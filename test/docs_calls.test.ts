/** Every call that the documents show is made, and every example of the contract fits it; those of requests are sent. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Shop, startShop } from '../demo/shop.ts';
import { shopCrawl } from '../demo/spider.ts';
import type { StartCrawl } from '../dist/model/crawl.js';
import { ENDED, getJson, postCrawl, waitFor } from './support/client.ts';
import { answerSchema, type ContractDocument, examplesOf, misfits } from './support/contract_document.ts';
import { type CurlCall, curlCalls } from './support/curl.ts';
import { type TestDatabase, testDatabase } from './support/database.ts';
import { type Service, startService } from './support/service.ts';
import { type Site, startSite } from './support/site.ts';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const JSON_TYPE = { 'content-type': 'application/json' };
const ID = /\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b/g;

let database: TestDatabase;
let shop: Shop;
/** Answers nothing: a crawl of it goes on and on. */
let silent: Site;
let service: Service;
let contract: ContractDocument;
let directory: string;
before(async () => {
  database = await testDatabase();
  directory = await mkdtemp(join(tmpdir(), 'orbweaver-docs-'));
  [shop, silent] = await Promise.all([startShop(), startSite(() => {})]);
  service = await startService({ DATABASE_URL: database.url, DATA_DIR: directory });
  contract = await getJson<ContractDocument>(`${service.url}/openapi.json`);
});
after(async () => {
  await service.stop();
  await Promise.all([shop.close(), silent.close()]);
  await database.drop();
  await rm(directory, { recursive: true });
});

/** The sites of the examples are this shop, and their service is ours. */
const here = (text: string) =>
  text
    .replaceAll(/https:\/\/(?:books|shop|hooks)\.example/g, shop.url)
    .replaceAll(/http:\/\/127\.0\.0\.1:\d{5}(?=\/)/g, shop.url)
    .replaceAll(/(?:http:\/\/)?(?:localhost|127\.0\.0\.1):3000/g, service.url);

/** @returns the answer, which is one of the contract's */
async function send({ method, url, headers, body }: CurlCall): Promise<{ status: number; text: string }> {
  const response = await fetch(url, { method, headers, body });
  const text = await response.text();
  const schema = method === 'HEAD' ? null : answerSchema(contract, method, url, response.status);
  if (schema !== null && response.headers.get('content-type')?.startsWith('application/json'))
    assert.deepEqual(misfits(contract, schema, JSON.parse(text)), [], `${method} ${url}: ${text.slice(0, 500)}`);
  return { status: response.status, text };
}

const cancel = (id: string) => fetch(`${service.url}/crawls/${id}/cancel`, { method: 'POST' });

/** A crawl that was shown is of no more use, and would stand in the way of what comes next. */
async function cancelIfStarted({ method, url }: CurlCall, text: string): Promise<void> {
  if (method === 'POST' && url.endsWith('/crawls')) await cancel((JSON.parse(text) as { id: string }).id);
}

const put = (name: string, definition: object) =>
  send({ method: 'PUT', url: `${service.url}/spiders/${name}`, headers: JSON_TYPE, body: JSON.stringify(definition) });

/** Three versions, as examples name `books@3`; the newest is the definition itself. */
async function storeSpider(name: string): Promise<void> {
  const { spider } = shopCrawl(shop.url) as { spider: object };
  const start = { ...spider, name, startUrls: [`${shop.url}/`] };
  await put(name, { ...start, description: 'one' });
  await put(name, { ...start, description: 'two' });
  await put(name, start);
}

test('README.md: its crawl gives the items that it shows, and they can be read on', async () => {
  let id = '';
  for (const call of curlCalls(here(read('README.md')), {})) {
    const { status, text } = await send({ ...call, url: call.url.replace(ID, id) });
    assert.ok(status < 300, `${call.method} ${call.url}: ${text}`);
    if (call.method === 'POST') id = (JSON.parse(text) as { id: string }).id;
    else assert.equal(text.trimEnd().split('\n').length, 300);
  }
  assert.notEqual(id, '');
  const after = await getJson<{ items: unknown[] }>(`${service.url}/crawls/${id}/items?after=299&format=json`);
  assert.deepEqual(after.items, []);
  const shortest = here(/The shortest crawl has no spider: `(\{.+?\})`/.exec(read('README.md'))![1]!);
  await postCrawl(service.url, { ...(JSON.parse(shortest) as StartCrawl), settings: { maxPages: 1 } });
});

test('docs/api.md: every call of curl is answered as the contract says', async () => {
  const told = await startSite((_req, res) => res.writeHead(204).end());
  const { id } = await postCrawl(service.url, {
    ...shopCrawl(shop.url),
    settings: { maxPages: 30 },
    exports: [{ file: { format: 'ndjson' } }],
    webhooks: [{ url: `${told.url}/` }],
  });
  await waitFor(service.url, id, ENDED);
  const delivery = await firstDelivery(id);
  const schedule = await created('/schedules', { cron: '@yearly', crawl: { startUrls: [`${shop.url}/`] } });
  const calls = curlCalls(here(read('docs/api.md')), { id, delivery, schedule });
  assert.ok(calls.length > 25);
  for (const call of calls) {
    const { pathname } = new URL(call.url);
    const own = await stage(call.method, pathname, id);
    const { status, text } = await send({ ...call, url: call.url.replaceAll(id, own) });
    assert.ok(status < 300, `${call.method} ${call.url}: ${status} ${text}`);
    await cancelIfStarted(call, text);
  }
  await told.close();
});

async function firstDelivery(id: string): Promise<string> {
  for (let tries = 0; tries < 1200; tries++) {
    const { deliveries } = await getJson<{ deliveries: { id: string }[] }>(`${service.url}/crawls/${id}/deliveries`);
    if (deliveries.length > 0) return deliveries[0]!.id;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail('nothing was delivered');
}

/** Brings about what a call is about. @returns the crawl that it is made with */
async function stage(method: string, path: string, id: string): Promise<string> {
  if (path.startsWith('/spiders/shop')) await storeSpider('shop');
  else if (method === 'POST' && path === '/spiders') await fetch(`${service.url}/spiders/shop`, { method: 'DELETE' });
  else if (method !== 'GET' && /^\/crawls\/(?!.*\/(?:exports|deliveries|webhooks)\/)/.test(path)) {
    const own = (await postCrawl(service.url, { startUrls: [`${silent.url}/`], settings: { robots: false } })).id;
    if (method === 'DELETE') await cancel(own);
    return own;
  }
  return id;
}

test('openapi.yaml: every example fits the schema that it stands beside', () => {
  const examples = [...examplesOf(contract)];
  assert.ok(examples.length >= 10);
  for (const { at, schema, value } of examples) assert.deepEqual(misfits(contract, schema, value), [], at);
});

const bodyless = (method: string, path: string) => fetch(`${service.url}${path}`, { method });
const created = async (path: string, body: object) => {
  const call = { method: 'POST', url: `${service.url}${path}`, headers: JSON_TYPE, body: JSON.stringify(body) };
  return (JSON.parse((await send(call)).text) as { id: string }).id;
};

/** Where the example of a request goes, for paths with a name or an id in them, or with something to be done before. */
const PLACES: Readonly<Record<string, () => Promise<string>>> = {
  '/spiders': async () => {
    await bodyless('DELETE', '/spiders/books');
    return '/spiders';
  },
  '/spiders/{name}': async () => '/spiders/books',
  '/crawls/{id}': async () => `/crawls/${await created('/crawls', { startUrls: [`${silent.url}/`] })}`,
  '/schedules/{id}': async () => {
    const example = contract.components.schemas.NewSchedule!.examples as object[];
    return `/schedules/${await created('/schedules', { ...example[0], name: 'another' })}`;
  },
};

test('openapi.yaml: every example of a request is taken', async () => {
  for (const [template, methods] of Object.entries(contract.paths))
    for (const [method, { requestBody }] of Object.entries(methods)) {
      const schema = (requestBody?.content['application/json']?.schema ?? {}) as {
        $ref?: string;
        examples?: unknown[];
      };
      const component = schema.$ref?.split('/').at(-1);
      const examples = component === undefined ? schema.examples : contract.components.schemas[component]!.examples;
      if (component !== undefined) assert.ok(Array.isArray(examples), `${component} is sent, and has no example`);
      if (!Array.isArray(examples)) continue;
      for (const example of examples) {
        await storeSpider('books');
        const path = (await PLACES[template]?.()) ?? template;
        assert.ok(!path.includes('{'), `say here where an example of ${method} ${template} goes`);
        const body = here(JSON.stringify(example));
        const call = { method: method.toUpperCase(), url: service.url + path, headers: JSON_TYPE, body };
        const { status, text } = await send(call);
        assert.ok(status < 300, `${method} ${path} ${body}: ${status} ${text}`);
        await cancelIfStarted(call, text);
      }
    }
});
