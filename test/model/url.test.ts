import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_SETTINGS } from '../../dist/model/settings.js';
import { canonicalize, type UrlSettings, urlRules } from '../../dist/model/url.js';

const canonical = (url: string, settings: Partial<UrlSettings> = {}) =>
  canonicalize(new URL(url, 'http://site.test/dir/page'), urlRules({ ...DEFAULT_SETTINGS, ...settings })).url;

/** One page: what is written differently and means the same. */
const EQUAL: [string, string, string][] = [
  ['query in another order', '/a?b=1&a=2', '/a?a=2&b=1'],
  ['many parameters in another order', '/a?c=3&b=2&a=1&d', '/a?d&a=1&b=2&c=3'],
  ['a list keeps its order among others', '/a?a=2&b=1&a=1', '/a?b=1&a=2&a=1'],
  ['fragment', '/a#top', '/a'],
  ['empty fragment', '/a#', '/a'],
  ['default port of http', 'http://site.test:80/a', 'http://site.test/a'],
  ['default port of https', 'https://site.test:443/a', 'https://site.test/a'],
  ['port with zeros', 'http://site.test:0080/a', 'http://site.test/a'],
  ['host case', 'http://SITE.Test/a', 'http://site.test/a'],
  ['scheme case', 'HTTP://site.test/a', 'http://site.test/a'],
  ['the root’s dot', 'http://site.test./a', 'http://site.test/a'],
  ['the root’s dot before a port', 'http://site.test.:8080/a', 'http://site.test:8080/a'],
  ['no path', 'http://site.test', 'http://site.test/'],
  ['no path but a query', 'http://site.test?a=1', 'http://site.test/?a=1'],
  ['%7E and ~', '/%7Ea', '/~a'],
  ['%7e and ~', '/%7ea', '/~a'],
  ['escaped letters and digits', '/%61%42%30', '/aB0'],
  ['escaped - . _', '/a%2Db%2Ec%5Fd', '/a-b.c_d'],
  ['hex digits in lower case', '/%c3%a9', '/%C3%A9'],
  ['non-ASCII, written out', '/é', '/%C3%A9'],
  ['a space, written out', '/a b', '/a%20b'],
  ['escapes in the query', '/?q=%7e%c3%a9', '/?q=~%C3%A9'],
  ['an escaped name of a parameter', '/?%61=1&b=2', '/?b=2&a=1'],
  ['dot segments', '/a/./b/../c', '/a/c'],
  ['dot segments above the root', '/../../a', '/a'],
  ['escaped dot segments', '/a/%2e/b/%2E%2e/c', '/a/c'],
  ['half escaped dot segments', '/a/b/.%2e/c', '/a/c'],
  ['a dot segment at the end', '/a/b/..', '/a/'],
  ['backslashes', '\\a\\b', '/a/b'],
  ['backslashes before the host', 'http:\\\\site.test\\a', 'http://site.test/a'],
  ['one slash before the host', 'http:/site.test/a', 'http://site.test/dir/../site.test/a'],
  ['tab and newlines inside', '/a\tb\r\nc', '/abc'],
  ['blanks around', ' \n/a\t ', '/a'],
  ['user name and password', 'http://user:pw@site.test/a', 'http://site.test/a'],
  ['IDN and punycode', 'http://bücher.test/', 'http://xn--bcher-kva.test/'],
  ['IDN in upper case', 'http://BÜCHER.test/', 'http://bücher.test/'],
  ['full-width characters in a host', 'http://ｓｉｔｅ.test/', 'http://site.test/'],
  ['IPv6 written long', 'http://[0:0:0:0:0:0:0:1]/', 'http://[::1]/'],
  ['IPv6 with hex digits in upper case', 'http://[2001:DB8::A]/', 'http://[2001:db8::a]/'],
  ['IPv4 as one number', 'http://2130706433/', 'http://127.0.0.1/'],
  ['IPv4 with the root’s dot', 'http://127.0.0.1./', 'http://127.0.0.1/'],
  ['empty query', '/a?', '/a'],
  ['query of nothing but separators', '/a?&&', '/a'],
  ['empty parameters', '/a?b=1&&c=2&', '/a?b=1&c=2'],
  ['tracking parameters', '/a?utm_source=x&b=1&gclid=2', '/a?b=1'],
  ['tracking parameters alone', '/a?utm_source=x', '/a'],
  ['an apostrophe in the query', "/?q='", '/?q=%27'],
];

/** Different pages, or pages that may be different. */
const DIFFERENT: [string, string, string][] = [
  ['path case', '/A', '/a'],
  ['trailing slash', '/a/', '/a'],
  ['two slashes', '/a//b', '/a/b'],
  ['scheme', 'https://site.test/a', 'http://site.test/a'],
  ['port', 'http://site.test:8080/a', 'http://site.test/a'],
  ['www.', 'http://www.site.test/', 'http://site.test/'],
  ['a blank value and none', '/?a=&b=1', '/?b=1'],
  ['a blank value and no value', '/?a=', '/?a'],
  ['the order of equal names', '/?a=2&a=1', '/?a=1&a=2'],
  ['a name once and twice', '/?a=1&a=1', '/?a=1'],
  ['value case', '/?a=B', '/?a=b'],
  ['name case', '/?A=1', '/?a=1'],
  ['plus and %20 in the query', '/?q=a+b', '/?q=a%20b'],
  ['plus and %2B', '/?q=a+b', '/?q=a%2Bb'],
  ['semicolon and ampersand', '/?a=1;b=2', '/?a=1&b=2'],
  ['the order of what semicolons separate', '/?b=2;a=1', '/?a=1;b=2'],
  ['%2F and slash', '/a%2Fb', '/a/b'],
  ['%3F and question mark', '/a%3Fb', '/a?b'],
  ['%26 and ampersand', '/?a=1%26b=2', '/?a=1&b=2'],
  ['%3D and equals sign', '/?a%3D1', '/?a=1'],
  ['a lone % and %25', '/100%', '/100%25'],
  ['a lone % before an escape, and the escape that they seem to make', '/%%32e', '/%2e'],
  ['%252e and %2e', '/a%252eb', '/a%2eb'],
  ['path parameters', '/a;v=1', '/a'],
  ['a session id, as long as nothing else is said', '/a?sid=1', '/a?sid=2'],
  ['a session id in the path, likewise', '/a;jsessionid=1', '/a'],
  ['a name that begins as a tracking parameter', '/?utm=1', '/'],
];

for (const [what, a, b] of EQUAL) test(`21, 23: equal: ${what}`, () => assert.equal(canonical(a), canonical(b)));
for (const [what, a, b] of DIFFERENT)
  test(`21, 23: different: ${what}`, () => assert.notEqual(canonical(a), canonical(b)));

const SETTINGS: [string, Partial<UrlSettings>, string, string][] = [
  ['dropParams by name and prefix', { dropParams: ['x', 'y*'] }, '/?x=1&y1=2&xa=3&utm_a=4', '/?utm_a=4&xa=3'],
  [
    'keepParams wins over dropParams',
    { dropParams: ['x*'], keepParams: ['xa', 'xb*'] },
    '/?xc=1&xb1=2&xa=3',
    '/?xa=3&xb1=2',
  ],
  ['sortQuery off', { sortQuery: false }, '/?b=1&a=2&&utm_x=1', '/?b=1&a=2'],
  ['keepFragment', { keepFragment: true }, '/a#!/p?b=1&a=%7e', '/a#!/p?b=1&a=~'],
  ['keepFragment with an empty one', { keepFragment: true }, '/a#', '/a'],
  ['dropSessionIds: of PHP', { dropSessionIds: true }, '/a?PHPSESSID=1&b=2', '/a?b=2'],
  ['dropSessionIds: of ASP', { dropSessionIds: true }, '/a?ASPSESSIONIDQADRBTS=1', '/a'],
  [
    'dropSessionIds: of ColdFusion and shops',
    { dropSessionIds: true },
    '/?CFID=1&CFTOKEN=2&zenid=3&osCsid=4&a=5',
    '/?a=5',
  ],
  ['dropSessionIds: others', { dropSessionIds: true }, '/?sid=1&sessid=2&session_id=3&SessionId=4&sidx=5', '/?sidx=5'],
  ['dropSessionIds: keepParams wins', { dropSessionIds: true, keepParams: ['sid'] }, '/?sid=1&phpsessid=2', '/?sid=1'],
  ['dropSessionIds: of Java in the path', { dropSessionIds: true }, '/a;jsessionid=1A.w2/b;v=3?c=4', '/a/b;v=3?c=4'],
  ['dropSessionIds: of Java at the end', { dropSessionIds: true }, '/a.jsp;JSESSIONID=1!2', '/a.jsp'],
  [
    'dropSessionIds: of ASP.NET in the path',
    { dropSessionIds: true },
    '/x/(S(lit3py55))/(A(1)F(2))/a.aspx',
    '/x/a.aspx',
  ],
  ['dropSessionIds: all of a path', { dropSessionIds: true }, '/(S(lit3py55))', '/'],
  ['dropSessionIds: a dot segment comes to light', { dropSessionIds: true }, '/a/..;sid=1/b', '/b'],
  ['dropSessionIds: brackets that are none', { dropSessionIds: true }, '/wiki/A_(B)/(C)', '/wiki/A_(B)/(C)'],
];
for (const [what, settings, url, expected] of SETTINGS)
  test(`22: ${what}`, () => assert.equal(canonical(url, settings), `http://site.test${expected}`));

test('23: what is no host is no URL', () => {
  for (const url of ['http://', 'http://[::1', 'http://a b/', 'http://a%00b/', 'http://1.2.3.4.5.256/'])
    assert.equal(URL.parse(url), null, url);
});
