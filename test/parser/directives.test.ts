import assert from 'node:assert/strict';
import { test } from 'node:test';
import { baseOf, parseRefresh, refreshOf, tagNofollow } from '../../dist/parser/directives.js';
import { parseHtml5 } from '../../dist/parser/html5.js';
import { locationOf } from '../../dist/parser/redirect.js';
import { parseFast } from '../../dist/parser/tree.js';

const URL = 'http://site.test/dir/page';

test('8: a refresh is read as the HTML standard says', () => {
  const cases: [string, [number, string] | null][] = [
    ['0', [0, '']],
    ['5;', [5, '']],
    ['5; url=/a', [5, '/a']],
    ['5;URL = /a ', [5, '/a ']],
    ['5,/a', [5, '/a']],
    ['5 /a', [5, '/a']],
    ['\n 5\t;\f url\r=\n/a', [5, '/a']],
    ['5.9.1; url=/a', [5, '/a']],
    ['.5; url=/a', [0, '/a']],
    ["0; url='/a b'c", [0, '/a b']],
    ['0; "/a', [0, '/a']],
    ['0; url="/a\'b"', [0, "/a'b"]],
    ['0; urn:a', [0, 'urn:a']],
    ['0; url /a', [0, 'url /a']],
    ["0; u'/a'", [0, "u'/a'"]],
    ['0; url=', [0, '']],
    ['0;; /a', [0, '; /a']],
    ['', null],
    [';url=/a', null],
    ['url=/a', null],
    ['-1; url=/a', null],
    ['5a; url=/a', null],
    ['5"; url=/a', null],
  ];
  for (const [text, expected] of cases)
    assert.deepEqual(parseRefresh(text), expected && { seconds: expected[0], url: expected[1] }, JSON.stringify(text));
});

test('8: of several refreshes the first that is one counts, the header before all metas', () => {
  const meta = (content: string) => `<meta http-equiv=refresh content="${content}">`;
  const to = (html: string, header?: string, base = URL) =>
    [parseFast, parseHtml5].map((parse) => refreshOf(parse(html), header, { url: URL, base }, 10));
  const both = (expected: string | null) => [expected, expected];
  assert.deepEqual(
    to(`${meta('nonsense')}${meta('0;http://[')}${meta('1;/a')}${meta('0;/b')}`),
    both('http://site.test/a'),
  );
  assert.deepEqual(to(`${meta('11;/a')}${meta('0;/b')}`), both(null), 'a late one is one');
  assert.deepEqual(to(meta('0;/a'), '2;b', 'http://base.test/'), both('http://site.test/dir/b'));
  assert.deepEqual(to(meta('0;a'), undefined, 'http://base.test/x/'), both('http://base.test/x/a'));
  assert.deepEqual(to(meta('0'), undefined, 'http://base.test/x/'), both(URL), 'without a URL: the page itself');
  assert.deepEqual(to(`<noscript>${meta('0;/a')}</noscript><template><p>${meta('0;/b')}</template>`), both(null));
  assert.deepEqual(to(meta('0;javascript:alert(1)')), both(null));
});

test('8: the first base with an href counts, unless it is no URL, or data: or javascript:', () => {
  const cases: [string, string][] = [
    ['<base target=x><base href="/a/"><base href="/b/">', 'http://site.test/a/'],
    ['<base href="sub/">', 'http://site.test/dir/sub/'],
    ['<base href=" http://other.test/x ">', 'http://other.test/x'],
    ['<base href="data:text/html,x"><base href="/b/">', URL],
    ['<base href="javascript:x">', URL],
    ['<base href="http://[">', URL],
    ['<template><base href="/a/"></template><base href="/b/">', 'http://site.test/b/'],
    ['<base href="">', URL],
    ['', URL],
  ];
  for (const [html, base] of cases) assert.equal(baseOf(parseFast(html), URL), base, html);
});

test('8: X-Robots-Tag: directives for all and for our name; values with commas and colons', () => {
  const yes: (string | string[])[] = [
    'nofollow',
    'NoFollow , noarchive',
    'noindex,none',
    'orbweaver: nofollow',
    'Orbweaver:none',
    'otherbot: noindex, orbweaver: noindex, nofollow',
    ['otherbot: noindex', 'nofollow'],
    'unavailable_after: Friday, 25 Jun 2040 15:00:00 PST, nofollow',
    'max-snippet: 3, nofollow',
  ];
  const no: (string | string[] | undefined)[] = [
    undefined,
    '',
    'noindex, follow',
    'otherbot: nofollow',
    'otherbot: noindex, nofollow',
    'orbweaver-news: nofollow',
    ['otherbot: none', 'noindex'],
    'unavailable_after: none',
    'notnofollow',
  ];
  for (const header of yes) assert.equal(tagNofollow(header, 'orbweaver'), true, String(header));
  for (const header of no) assert.equal(tagNofollow(header, 'orbweaver'), false, String(header));
});

test('7: a Location is read as UTF-8 where it is that, else its octets are escaped; it keeps the fragment that led to it', () => {
  assert.equal(locationOf(Buffer.from('/ü').toString('latin1'), URL), '/ü');
  assert.equal(locationOf('/\xfc', URL), '/%FC');
  assert.equal(locationOf(' /a ', `${URL}#x`), '/a#x');
  assert.equal(locationOf('/a#y', `${URL}#x`), '/a#y');
});
