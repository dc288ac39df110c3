import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSql } from '../../dist/model/sql_text.js';

const marked = (text: string) =>
  readSql(text)
    .parts.map((part) => (typeof part === 'number' ? `<${part}>` : part))
    .join('');

const CASES: [string, string, string][] = [
  ['a parameter', 'select $1', 'select <1>'],
  ['several, one twice', 'select $2 + $1 - $2', 'select <2> + <1> - <2>'],
  ['with a cast', 'select $1::int[]', 'select <1>::int[]'],
  ['in parentheses', 'select f($1,$12)', 'select f(<1>,<12>)'],
  ['in a string', "select '$1', $1", "select '$1', <1>"],
  ['after a doubled quote', "select 'it''s $1' || $1", "select 'it''s $1' || <1>"],
  ['a backslash ends no plain string early', "select '\\', $1, '$2'", "select '\\', <1>, '$2'"],
  ['in an escape string', "select E'\\'$1' || $1", "select E'\\'$1' || <1>"],
  ['in an escape string, small e', "select e'\\\\', $1", "select e'\\\\', <1>"],
  ['a name that ends in e is no escape', "select name'\\', $1, ''", "select name'\\', <1>, ''"],
  ['in a quoted name', 'select "a$1" , $1 from "t""$2"', 'select "a$1" , <1> from "t""$2"'],
  ['in a plain name', 'select a$1, $1', 'select a$1, <1>'],
  ['in a dollar string', 'select $$ $1 $$, $1', 'select $$ $1 $$, <1>'],
  ['in a tagged dollar string', 'select $a$ $1 $$ $b$ $a$, $1', 'select $a$ $1 $$ $b$ $a$, <1>'],
  ['in a line comment', 'select $1 -- $2 (\n, $1', 'select <1> -- $2 (\n, <1>'],
  ['in nested comments', 'select /* $2 /* ( */ $3 */ $1', 'select /* $2 /* ( */ $3 */ <1>'],
  ['minus is no comment', 'select $1-$2', 'select <1>-<2>'],
  ['divide is no comment', 'select $1/$2', 'select <1>/<2>'],
  ['a semicolon at the end', 'select $1 ; -- done', 'select <1> '],
  ['unicode names', 'select größe$1, $1', 'select größe$1, <1>'],
];

for (const [name, text, expected] of CASES)
  test(`parameters are found: ${name}`, () => assert.equal(marked(text), expected));

const REFUSED: [string, RegExp][] = [
  ['', /empty/],
  [' ', /empty/],
  ['select 1; select 2', /more than one statement/],
  ['select 1;;', /more than one statement/],
  ["select 'a", /string is not closed/],
  ["select E'a\\'", /string is not closed/],
  ['select "a', /quoted name is not closed/],
  ['select $a$ b', /\$a\$ opens is not closed/],
  ['select /* a', /comment is not closed/],
  ['select (1', /not closed/],
  ['select 1) from (select 2', /was not opened/],
  ['select $0', /\$0/],
  ['select \0', /NUL/],
];

for (const [text, message] of REFUSED)
  test(`refused: ${JSON.stringify(text)}`, () => assert.throws(() => readSql(text), { message }));

test('the highest parameter counts', () => assert.equal(readSql('select $3, $1').params, 3));

test('long hostile texts are read in one pass', () => {
  for (const piece of ["'", "''", '$', '$$', '/*', '/* */', '--\n', '"', '(', '\\', "E'", '$1', 'a', '$a'])
    try {
      readSql(piece.repeat(100_000));
    } catch {}
});
