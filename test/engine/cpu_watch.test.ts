import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CpuWatch } from '../../dist/engine/cpu_watch.js';

const textsOf = (warnings: { text: string }[]) => warnings.map(({ text }) => text);

test('one page at half of its limit is told once, by name, with the page', () => {
  const watch = new CpuWatch({ parseTimeoutMs: 2000 });
  assert.deepEqual(watch.see('http://a/', { 'page product': 999 }), []);
  assert.deepEqual(textsOf(watch.see('http://a/x', { 'page product': 1840.4 })), [
    'page `product` used 1,840 ms of CPU on http://a/x; parseTimeoutMs is 2000, and beyond it a page fails',
  ]);
  assert.deepEqual(watch.see('http://a/y', { 'page product': 1900 }), []);
  assert.equal(watch.see('http://a/z', { 'callback parse': 1900 }).length, 1);
});

test('what takes long on the mean is told once, after twenty pages', () => {
  const watch = new CpuWatch({ parseTimeoutMs: 2000 });
  for (let i = 0; i < 19; i++) assert.deepEqual(watch.see('http://a/', { 'callback parse': 125 }), []);
  const [text] = textsOf(watch.see('http://a/', { 'callback parse': 125 }));
  assert.match(
    text!,
    /^callback `parse` takes 125 ms of CPU a page \(mean of 20 pages\): no more than 8 pages a second/,
  );
  assert.deepEqual(watch.see('http://a/', { 'callback parse': 125 }), []);
});

test('the first page that was ended is told, and what begins a text is what it is told apart by', () => {
  const watch = new CpuWatch({ parseTimeoutMs: 2000 });
  const [warning] = watch.killed('http://a/', 'it took longer than 2000 ms');
  assert.ok(warning!.text.startsWith(warning!.about));
  assert.deepEqual(watch.killed('http://a/b', 'again'), []);
});
