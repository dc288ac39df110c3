import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeBody } from '../../dist/parser/charset.js';
import { kindOf } from '../../dist/parser/content.js';
import { compilePattern, subjectOf } from '../../dist/parser/patterns.js';
import { shared } from './helpers.ts';

const decode = (bytes: string | Uint8Array, type: string | null = null) => {
  const { body, bodyBytes } = shared(bytes);
  return decodeBody(body, bodyBytes, type, 'html');
};
const latin = (text: string) => Buffer.from(text, 'latin1');

describe('the charset', () => {
  it('is the byte order mark first', () => {
    assert.equal(decode(Buffer.from('\ufeffé'), 'text/html; charset=latin1'), 'é');
    assert.equal(decode(Buffer.from('\ufeffhé', 'utf16le'), 'text/html'), 'hé');
    assert.equal(decode(Uint8Array.of(0xfe, 0xff, 0, 0x68)), 'h');
  });
  it('is the header before the meta', () => {
    const page = latin('<meta charset="utf-8">\xe9');
    assert.equal(decode(page, 'text/html; charset=ISO-8859-1').at(-1), 'é');
    assert.equal(decode(latin('\xb1\xe6'), 'text/html;charset="gb18030"'), '辨');
    assert.equal(decode(latin('\x82\xa0'), 'text/html; charset=shift_jis'), 'あ');
  });
  it('is the meta in the first 1,024 bytes', () => {
    assert.equal(decode(latin('<meta charset=windows-1251>\xcf')).at(-1), 'П');
    assert.equal(decode(latin('<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">\xf0')).at(-1), 'П');
    assert.equal(decode(latin(`${' '.repeat(1100)}<meta charset=windows-1251>\xcf`)).at(-1), 'Ï');
    assert.equal(decode(Buffer.from('<meta charset="utf-16">é')).at(-1), 'é');
  });
  it('is UTF-8 where that is valid, else windows-1252', () => {
    assert.equal(decode('é€'), 'é€');
    assert.equal(decode(latin('\x80\xe9')), '€é');
    assert.equal(decode('ascii'), 'ascii');
  });
  it('falls through where the label is unknown or wrong', () => {
    assert.equal(decode(latin('<meta charset=windows-1251>\xcf'), 'text/html; charset=klingon').at(-1), 'П');
    assert.equal(decode('é', 'text/html; charset=none'), 'é');
    assert.equal(decode(latin('a\xe9'), 'text/html; charset=utf-8'), 'a\ufffd');
  });
});

describe('the content type', () => {
  const html = (text: string, type: string | null) => {
    const { body, bodyBytes } = shared(text);
    return kindOf(body, bodyBytes, type) === 'html';
  };
  it('decides what is HTML', () => {
    assert.ok(html('', 'text/html'));
    assert.ok(html('', 'Application/XHTML+xml; charset=utf-8'));
    for (const type of ['text/plain', 'application/json', 'text/xml', 'image/png', 'application/pdf'])
      assert.ok(!html('<html>', type), type);
  });
  it('is sniffed where it is missing', () => {
    for (const text of ['<!DOCTYPE HTML>', ' \n<html>', '<p>x', '<?xml version="1.0"?><html>', '\ufeff<body>', ''])
      assert.ok(html(text, null), text);
    for (const text of ['%PDF-1.7', '{"a":1}', 'plain', '<?xml version="1.0"?><rss>', '<html>\0\x01', '\x89PNG'])
      assert.ok(!html(text, null), text);
  });
});

describe('patterns', () => {
  const fits = (pattern: string | { regex: string }, url: string) => compilePattern(pattern).test(subjectOf(url));
  const cases: [string, string, boolean][] = [
    ['/catalogue/', 'http://a.test/catalogue/x', true],
    ['/catalogue/', 'http://a.test/x/catalogue/', false],
    ['?sort=', 'http://a.test/x?sort=1', true],
    ['sort=', 'http://a.test/x?b=1&sort=1', true],
    ['?sort=', 'http://a.test/x', false],
    ['/a/*', 'http://a.test/a/b/c', true],
    ['/catalogue/*/index.html', 'http://a.test/catalogue/a/b/index.html', true],
    ['/catalogue/*/index.html', 'http://a.test/catalogue/a/index.html?x=1', false],
    ['*.pdf', 'http://a.test/x/y.pdf', true],
    ['*.pdf', 'http://a.test/x/y.pdf?z', false],
    ['?page=*', 'http://a.test/x?page=2', true],
    ['/$', 'http://a.test/', true],
    ['/$', 'http://a.test/x', false],
    ['/x$', 'http://a.test/x', true],
    ['/x$', 'http://a.test/xy', false],
    ['/a*a', 'http://a.test/a', false],
    ['/*a*b*', 'http://a.test/xaxbx', true],
    ['https://a.test/', 'https://a.test/x', true],
    ['https://a.test/', 'http://a.test/x', false],
    ['//a.test/x', 'http://a.test/xy', true],
    ['*://*.a.test/*', 'https://www.a.test/q', true],
    ['/straße/', 'http://a.test/stra%C3%9Fe/1', true],
    ['/A', 'http://a.test/a', false],
  ];
  it('are globs over path and query, or over the URL', () => {
    for (const [pattern, url, expected] of cases) assert.equal(fits(pattern, url), expected, `${pattern} ${url}`);
  });
  it('are regexes in linear time', () => {
    assert.ok(fits({ regex: '/p/[0-9]+$' }, 'http://a.test/p/12'));
    assert.ok(!fits({ regex: '^(a+)+$' }, `http://a.test/${'a'.repeat(50_000)}!`));
    assert.throws(() => compilePattern({ regex: '(?=x)' }));
  });
  it('are linear as globs', () => {
    assert.ok(!fits(`/${'*a'.repeat(400)}b`, `http://a.test/${'a'.repeat(8000)}`));
  });
});
