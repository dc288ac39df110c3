import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from '../../dist/model/nearest.js';

test('the word that was probably meant, or none', () => {
  const words = ['maxPages', 'maxItems', 'delayMs', 'books'];
  assert.equal(nearest('maxPges', words), 'maxPages');
  assert.equal(nearest('MAXITEM', words), 'maxItems');
  assert.equal(nearest('boks', words), 'books');
  assert.equal(nearest('sitemaps', words), null);
  assert.equal(nearest('x'.repeat(1_000_000), words), null);
  assert.equal(nearest('books', []), null);
  assert.equal(nearest('x', ['m', 'of']), null);
  assert.equal(nearest('itme', ['item']), 'item');
});

test('what other crawlers call it, where that is known here', () => {
  assert.equal(nearest('css', ['selector', 'xpath', 'as']), 'selector');
  assert.equal(nearest('css', ['as', 'xpath']), 'as');
  assert.equal(nearest('custom_settings', ['settings', 'scope']), 'settings');
});
