import assert from 'node:assert/strict';
import { test } from 'node:test';
import { extraText, requestFp, storedJson } from '../../dist/model/extra.js';
import { fillTemplate, namesIn, withDefaults } from '../../dist/model/params.js';
import { partProblems, type RequestParts, sentParts } from '../../dist/model/request_parts.js';
import { fpOf } from '../support/rows.ts';

test('a form, JSON or a body makes a POST with its Content-Type; a plain GET has no parts', () => {
  const sent: [RequestParts, object][] = [
    [{}, {}],
    [{ method: 'GET' }, {}],
    [{ method: 'HEAD' }, { method: 'HEAD' }],
    [{ headers: { 'X-Key': 'a' } }, { headers: { 'x-key': 'a' } }],
    [
      { form: { q: 'a b', 'ü&': '1' } },
      { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'q=a+b&%C3%BC%26=1' },
    ],
    [
      { json: { a: [1, null] } },
      { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"a":[1,null]}' },
    ],
    [{ json: null }, { method: 'POST', headers: { 'content-type': 'application/json' }, body: 'null' }],
    [
      { method: 'PUT', json: 1, headers: { 'Content-Type': 'application/vnd.x+json' } },
      { method: 'PUT', headers: { 'content-type': 'application/vnd.x+json' }, body: '1' },
    ],
    [{ body: 'raw' }, { method: 'POST', body: 'raw' }],
    [{ method: 'DELETE' }, { method: 'DELETE' }],
  ];
  for (const [parts, expected] of sent) assert.deepEqual(sentParts(parts), expected, JSON.stringify(parts));
});

test('parts that contradict each other are named, each with its pointer', () => {
  const wrong: [RequestParts, string[]][] = [
    [{ form: {}, json: 1 }, ['/x/json']],
    [{ method: 'GET', body: 'x' }, ['/x/method']],
    [{ method: 'HEAD', form: {} }, ['/x/method']],
    [{ headers: { Host: 'a', 'a b': '1', ok: 'a\nb' } }, ['/x/headers/Host', '/x/headers/a b', '/x/headers/ok']],
    [{ json: 'x'.repeat(100_001) }, ['/x/json']],
    [{ form: { a: 'é'.repeat(20_000) } }, ['/x/form']],
    [{ method: 'POST', form: { a: '1' }, headers: { 'x-a': '1' } }, []],
  ];
  for (const [parts, pointers] of wrong)
    assert.deepEqual(
      partProblems(parts, '/x').map(({ pointer }) => pointer),
      pointers,
    );
});

test('method and body count in the fingerprint; headers and what is passed on do not', () => {
  const url = 'https://a.example/';
  assert.equal(requestFp(url, null), fpOf(url));
  assert.equal(requestFp(url, { headers: { a: '1' }, page: 'p', pass: { x: 1 }, kind: 'sitemap' }), fpOf(url));
  const all = [null, { method: 'POST' }, { method: 'POST', body: 'a' }, { method: 'POST', body: 'b' }];
  assert.equal(new Set(all.map((extra) => requestFp(url, extra))).size, all.length);
});

test('what is stored is JSON that PostgreSQL holds, and nothing for an empty extra', () => {
  assert.equal(extraText({}), null);
  assert.equal(extraText(null), null);
  assert.equal(extraText({ pass: { 'a\0': '\ud800x\\u0000' } }), '{"pass":{"a\ufffd":"\ufffdx\\\\u0000"}}');
  assert.equal(storedJson('\ud83d\ude00'), '"\ud83d\ude00"');
});

test('templates: values are encoded in URLs and raw elsewhere; unknown names stay', () => {
  const params = { q: 'a b/ü&', n: 5, list: ['x', 1], none: null, url: 'https://a.example/?x=1', bad: '\ud800' };
  const filled: [string, boolean, string][] = [
    ['https://a.example/{q}?n={n}', true, 'https://a.example/a%20b%2F%C3%BC%26?n=5'],
    ['{q}', false, 'a b/ü&'],
    ['{list}-{none}-{nope}-{}-{ q }', false, 'x,1--{nope}-{}-{ q }'],
    ['{url}', true, 'https://a.example/?x=1'],
    ['{toString}{__proto__}', true, '{toString}{__proto__}'],
    ['/{bad}', true, '/%EF%BF%BD'],
  ];
  for (const [text, encode, expected] of filled) assert.equal(fillTemplate(text, params, encode), expected);
  assert.deepEqual(namesIn('{a}{b}{a}{1}{a-b}'), ['a', 'b', 'a-b']);
});

test('defaults fill what is not given, at the top level alone', () => {
  const schema = { properties: { a: { default: 1 }, b: { default: [2] }, c: {}, d: true, __proto__: null } };
  assert.deepEqual(withDefaults(schema, { b: null }), { b: null, a: 1 });
  assert.deepEqual(withDefaults(undefined, { x: 1 }), { x: 1 });
  assert.deepEqual(withDefaults({ properties: [] }, {}), {});
});
