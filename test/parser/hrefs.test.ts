import assert from 'node:assert/strict';
import { test } from 'node:test';
import { directoryText, PlainHrefs, withoutFragment } from '../../dist/parser/hrefs.js';
import fc from '../support/property.ts';

const RUNS = 3000;
const BASES = [
  'http://a.test/',
  'http://a.test/x/y/z.html',
  'http://a.test/x//y/',
  'https://u:p@a.test:8080/a/b/c/d?q/e#f/g',
  'http://a.test?x/y',
  'http://a.test//',
  'http://a.test/a?',
  'http://a.test/a/#',
  'http://a.test/%2e%41/%2f/x',
  'http://[::1]/a/b',
  'file:///x/y',
  'data:x,y',
];
const PIECES = [
  ...[
    '../',
    '..',
    '.',
    '/',
    '//',
    '\\',
    '?',
    '&',
    '#',
    '%',
    '%2e',
    ':',
    ';',
    '@',
    "'",
    '"',
    '|',
    '^',
    '`',
    '{',
    '[',
    ']',
  ],
  ...[
    'a',
    'B',
    'x.html',
    'q=1',
    '~',
    '_',
    '-',
    '!',
    '$',
    '(',
    ')',
    '*',
    '+',
    ',',
    '=',
    'é',
    ' ',
    '\t',
    '\n',
    '\u00a0',
    '\0',
  ],
  ...['http:', 'https:', 'http://', 'HTTP://A.test', 'a.test', 'javascript:', 'mailto:'],
];
const href = fc.array(fc.constantFrom(...PIECES), { maxLength: 7 }).map((pieces) => pieces.join(''));
const base = fc.constantFrom(...BASES);

const isHttp = (url: URL | null): url is URL => url !== null && /^https?:$/.test(url.protocol);

test('21: what is resolved without URL parsing is what URL parsing makes of it', () => {
  fc.assert(
    fc.property(href, base, (text, from) => {
      const resolved = new PlainHrefs(from).resolve(text);
      // An absolute URL is given back as a name to look it up by; only what parsing made of one is known by it.
      if (resolved !== null && !/^https?:\/\//.test(text)) assert.equal(resolved, URL.parse(text, from)?.href);
    }),
    { numRuns: RUNS },
  );
});

test('21: the parts of a plain URL are those that URL parsing gives it', () => {
  const PARTS = ['href', 'protocol', 'hostname', 'host', 'port', 'pathname', 'search', 'hash'] as const;
  fc.assert(
    fc.property(href, base, (text, from) => {
      const plain = new PlainHrefs(from);
      const url = plain.resolve(text);
      if (url === null || PlainHrefs.isAbsolute(text)) return;
      const parts = plain.partsOf(url);
      for (const part of PARTS) assert.equal(parts[part], URL.parse(url)![part], part);
    }),
    { numRuns: RUNS },
  );
});

test('21: a directory that is known by its text is that of every base for which it is taken', () => {
  const made = fc.tuple(href, base).map(([text, from]) => URL.parse(text, from)?.href ?? text);
  fc.assert(
    fc.property(fc.oneof(made, href, base), fc.oneof(href, fc.constant('z')), base, (url, name, other) => {
      const known = new Set([url, other].map((from) => new PlainHrefs(from).directory));
      for (const from of [url + name, other + name]) {
        const text = directoryText(from);
        if (text !== null && known.has(text)) assert.equal(new PlainHrefs(from).directory, text, from);
      }
    }),
    { numRuns: RUNS },
  );
});

test('21: what URL parsing made is parsed to itself', () => {
  fc.assert(
    fc.property(href, base, (text, from) => {
      const parsed = URL.parse(text, from);
      if (isHttp(parsed)) assert.equal(URL.parse(parsed.href)?.href, parsed.href);
    }),
    { numRuns: RUNS },
  );
});

test('21: an href without its fragment leads where it leads with it', () => {
  fc.assert(
    fc.property(href, base, (text, from) => {
      const cut = URL.parse(withoutFragment(text).trim(), from);
      const whole = URL.parse(text.trim(), from);
      if (withoutFragment(text) === text || !isHttp(cut)) return;
      assert.ok(whole !== null);
      whole.hash = '';
      assert.equal(whole.href, cut.href);
    }),
    { numRuns: RUNS },
  );
});

test('21: plain hrefs need no URL parsing, others do', () => {
  const hrefs = new PlainHrefs('http://a.test/x/y/z.html?q/r');
  const CASES: [string, string | null][] = [
    ['page.html', 'http://a.test/x/y/page.html'],
    ['sub/page', 'http://a.test/x/y/sub/page'],
    ['../', 'http://a.test/x/'],
    ['../../../../w/Class.Inner.html', 'http://a.test/w/Class.Inner.html'],
    ['/top/page?a=1&b=/../c', 'http://a.test/top/page?a=1&b=/../c'],
    ['http://b.test/', 'http://b.test/'],
    ['', null],
    ['?a=1', null],
    ['//b.test/', null],
    ['./page', null],
    ['a/../b', null],
    ['a%41', null],
    ['mailto:x', null],
    ['a b', null],
  ];
  for (const [text, url] of CASES) assert.equal(hrefs.resolve(text), url, text);
  assert.equal(hrefs.resolve(`${'../'.repeat(100_000)}w`), 'http://a.test/w');
});
