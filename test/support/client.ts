import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Crawl } from '../../dist/model/crawl.js';

export interface Item {
  offset: number;
  type: string;
  url: string;
  data: Record<string, unknown>;
  scrapedAt: string;
}

export interface LedgerRow {
  url: string;
  /** Absent: GET. */
  method?: string;
  state: string;
  reason: string | null;
  detail: string | null;
  depth: number;
  priority: number;
  attempts: number;
  status: number | null;
}

/** POSTs a crawl; fails on anything but 201. */
export async function postCrawl(base: string, body: object): Promise<Crawl> {
  const response = await fetch(`${base}/crawls`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  assert.equal(response.status, 201, JSON.stringify(answer));
  return answer as Crawl;
}

export async function getJson<T>(url: string): Promise<T> {
  const response = await fetch(url);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text) as T;
}

export function getCrawl(base: string, id: string): Promise<Crawl> {
  return getJson(`${base}/crawls/${id}`);
}

/** Waits until the crawl is in one of the states. */
export async function waitFor(base: string, id: string, states: string[], timeoutMs = 60_000): Promise<Crawl> {
  const from = Date.now();
  for (;;) {
    const crawl = await getCrawl(base, id);
    if (states.includes(crawl.state)) return crawl;
    const waited = Date.now() - from;
    assert.ok(waited < timeoutMs, `still ${crawl.state} after ${timeoutMs} ms: ${JSON.stringify(crawl.stats)}`);
    // A look costs three processes some milliseconds of CPU: a crawl that takes long is looked at seldom.
    await sleep(Math.min(Math.max(20, waited / 10), 250));
  }
}

export const ENDED = ['finished', 'failed', 'cancelled'];

/** Reads the item stream to its end. */
export async function readItems(base: string, id: string, query = ''): Promise<Item[]> {
  const response = await fetch(`${base}/crawls/${id}/items${query}`);
  assert.equal(response.status, 200);
  return (await response.text())
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Item);
}

/** The whole ledger. */
export async function readLedger(base: string, id: string): Promise<LedgerRow[]> {
  const response = await fetch(`${base}/crawls/${id}/requests`, { headers: { accept: 'application/x-ndjson' } });
  assert.equal(response.status, 200);
  return (await response.text())
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as LedgerRow);
}

/** Invariants 4 and 8: offsets without a gap, and the counters are sums over the ledger. */
export async function checkBooks(
  base: string,
  id: string,
): Promise<{ crawl: Crawl; items: Item[]; ledger: LedgerRow[] }> {
  const [crawl, items, ledger] = await Promise.all([
    getCrawl(base, id),
    readItems(base, id, '?follow=false'),
    readLedger(base, id),
  ]);
  assert.deepEqual(
    items.map((item) => item.offset),
    items.map((_, i) => i),
  );
  assert.equal(crawl.stats.items, items.length);
  const count = (state: string) => ledger.filter((row) => row.state === state).length;
  const { discovered, queued, inProgress, done, failed, skipped } = crawl.stats;
  assert.deepEqual(
    { discovered, queued, inProgress, done, failed, skipped },
    {
      discovered: ledger.length,
      queued: count('queued'),
      inProgress: count('fetching'),
      done: count('done'),
      failed: count('failed'),
      skipped: count('skipped'),
    },
  );
  assert.equal(discovered, queued + inProgress + done + failed + skipped);
  const gets = ledger.filter((row) => row.method === undefined);
  assert.equal(new Set(gets.map((row) => row.url)).size, gets.length, 'one row per URL');
  for (const row of ledger)
    if (row.state === 'failed' || row.state === 'skipped') assert.ok(row.reason, `${row.url} says why`);
  return { crawl, items, ledger };
}

/** The value of a metric without labels. */
export async function readMetric(base: string, name: string): Promise<number> {
  const text = await (await fetch(`${base}/metrics`)).text();
  const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1];
  assert.ok(value !== undefined, `${name} is measured`);
  return Number(value);
}
