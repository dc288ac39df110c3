import assert from 'node:assert/strict';
import { test } from 'node:test';
import { trapOf } from '../../dist/parser/traps.js';

const trap = (path: string, settings: object = {}) =>
  trapOf(`http://site.test${path}`, { maxPathSegments: 20, maxRepeatedSegments: 3, ...settings });
const long = (n: number) => [...Array(n).keys()].map((i) => `/s${i}`).join('');

const TRAPS: [string, string, RegExp, object?][] = [
  ['a path of too many segments', long(21), /^maxPathSegments 20: the path has 21 segments$/],
  [
    'one more than a limit of one’s own',
    '/a/b/c',
    /^maxPathSegments 2: the path has 3 segments$/,
    { maxPathSegments: 2 },
  ],
  ['one segment four times in a row', '/a/x/x/x/x', /^maxRepeatedSegments 3: "x" is there more than 3 times$/],
  ['one segment four times among others', '/a/b/a/c/a/d/a', /"a" is there more than 3 times/],
  ['a pair three times in a row', '/x/a/b/a/b/a/b', /"a\/b" stands 3 times in a row/],
  ['a pair three times in a row, and more behind it', '/a/b/a/b/a/b/c?d=1', /"a\/b" stands 3 times in a row/],
  ['a group of three, three times in a row', '/a/b/c/a/b/c/a/b/c', /"a\/b\/c" stands 3 times in a row/],
  ['slash after slash', '/a/////b', /"" is there more than 3 times/],
  ['a segment twice, where one is the limit', '/a/b/a', /maxRepeatedSegments 1: "a"/, { maxRepeatedSegments: 1 }],
  ['a long segment, cut in the detail', `${`/${'x'.repeat(200)}`.repeat(4)}`, /"x{100}…" is there/],
];
for (const [what, path, detail, settings] of TRAPS)
  test(`25: a trap: ${what}`, () => assert.match(trap(path, settings) ?? 'none', detail));

const NONE: [string, string, object?][] = [
  ['the root', '/'],
  ['twenty segments', long(20)],
  ['twenty segments and a slash', `${long(20)}/`],
  ['a segment three times', '/a/x/x/x'],
  ['a pair twice in a row', '/a/b/a/b'],
  ['a pair three times, with others between', '/a/b/c/a/b/d/a/b'],
  ['slashes in the query', `/a?url=${'/x'.repeat(30)}`],
  ['slashes in the fragment', `/a#${'/x'.repeat(30)}`],
  ['anything, without limits', `${long(40)}${'/x'.repeat(40)}`, { maxPathSegments: null, maxRepeatedSegments: null }],
];
for (const [what, path, settings] of NONE) test(`25: no trap: ${what}`, () => assert.equal(trap(path, settings), null));
