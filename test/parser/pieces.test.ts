import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyPage, type Link } from '../../dist/model/outcome.js';
import { Inbox, Outbox } from '../../dist/parser/pieces.js';
import type { FromThread } from '../../dist/parser/protocol.js';

const link = (i: number): Link => ({ url: `${i}`, fp: '', origin: null, priority: 0, reason: null, detail: null });
const page = (links: number, fps = 0): FromThread => ({
  kind: 'page',
  page: { ...emptyPage(), links: [...Array(links).keys()].map(link), linkedFps: [...Array(fps).keys()].map(String) },
});
const ready = (tid: number): FromThread => ({ kind: 'ready', tid });

test('16: a page of many links goes in pieces, each when it is asked for, and what comes after it waits', () => {
  const sent: FromThread[] = [];
  const outbox = new Outbox((message) => sent.push(message));
  outbox.send(page(5001, 2));
  outbox.send(ready(1));
  assert.equal(sent.length, 1);
  outbox.more();
  assert.equal(sent.length, 2);
  outbox.more();
  assert.deepEqual(
    sent.map(({ kind }) => kind),
    ['piece', 'piece', 'page', 'ready'],
  );
  const sizes = sent.map((one) =>
    one.kind === 'piece' ? one.links.length : one.kind === 'page' ? one.page.links.length : 0,
  );
  assert.deepEqual(sizes, [2000, 2000, 1001, 0]);
  outbox.send(ready(2));
  assert.equal(sent.length, 5, 'nothing is awaited any more');
});

test('16: the pieces of a page are put together in their order, and the next page is its own', () => {
  for (const [links, fps] of [
    [5001, 5001],
    [2000, 0],
    [2001, 7000],
    [0, 0],
    [3, 1],
  ] as const) {
    const sent: FromThread[] = [];
    const outbox = new Outbox((message) => sent.push(message));
    const inbox = new Inbox();
    outbox.send(page(links, fps));
    outbox.send(page(1));
    for (let i = 0; i < 10; i++) outbox.more();
    const pages = sent.flatMap((one) => {
      if (one.kind === 'piece') inbox.add(one);
      if (one.kind !== 'page') return [];
      inbox.complete(one.page);
      return [one.page];
    });
    assert.deepEqual(
      pages.map((one) => [one.links.length, one.linkedFps.length]),
      [
        [links, fps],
        [1, 0],
      ],
    );
    assert.ok(pages[0]!.links.every(({ url }, i) => url === `${i}`));
    assert.ok(pages[0]!.linkedFps.every((fp, i) => fp === `${i}`));
  }
});
