import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from '../../dist/model/nearest.js';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';

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

test('each setting that Scrapy or Crawlee calls otherwise leads to ours', () => {
  const settings = Object.keys(DEFAULT_SETTINGS);
  const cases = [
    ['ROBOTSTXT_OBEY', 'robots'],
    ['AUTOTHROTTLE_ENABLED', 'autothrottle'],
    ['HTTPCACHE_ENABLED', 'cache'],
    ['RETRY_HTTP_CODES', 'retryStatuses'],
    ['CONCURRENT_REQUESTS_PER_DOMAIN', 'concurrencyPerHost'],
    ['CLOSESPIDER_PAGECOUNT', 'maxPages'],
    ['DOWNLOAD_TIMEOUT', 'timeoutMs'],
    ['maxRequestsPerCrawl', 'maxPages'],
    ['proxies', 'proxy'],
    ['followRedirects', 'maxRedirects'],
    ['depth', 'maxDepth'],
  ] as const;
  for (const [theirs, ours] of cases) assert.equal(nearest(theirs, settings), ours, theirs);
});
