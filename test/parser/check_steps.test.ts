import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkSpider } from '../../dist/parser/check.js';

const enrich = (parts: object) => ({ enrich: { url: 'https://api.example/', set: { a: 'a' }, ...parts } });
const lookup = (parts: object) => ({
  lookup: { connection: 'c', query: 'select 1', params: [], set: { a: 'a' }, ...parts },
});

const MISTAKES: [string, object, string, string, RegExp][] = [
  ['no kind', {}, '', 'no_kind', /exactly one of validate, dedupe/],
  ['only a type', { type: 'a' }, '', 'no_kind', /exactly one/],
  ['two kinds', { pick: ['a'], set: { a: 1 } }, '/set', 'conflict', /"set" does not go with "pick"/],
  ['a schema', { validate: { required: 'a' } }, '/validate/required', 'bad_schema', /array/],
  ['a schema’s regex', { validate: { items: { pattern: '(' } } }, '/validate/items/pattern', 'bad_schema', /group/],
  ['a remote reference', { validate: { $ref: 'https://a.example/' } }, '/validate/$ref', 'bad_schema', /outside/],
  ['keys of a nameless spider', { dedupe: { key: ['a'], scope: 'spider' } }, '/dedupe/scope', 'no_name', /add "name"/],
  ['send with GET', enrich({ method: 'GET', send: { a: 'a' } }), '/enrich/send', 'conflict', /no body/],
  ['batch with GET', enrich({ method: 'GET', batch: 5 }), '/enrich/batch', 'conflict', /POST/],
  ['batch with a place', enrich({ url: 'https://a.example/{id}', batch: 5 }), '/enrich/url', 'conflict', /\{id\}/],
  ['an empty place', enrich({ url: 'https://a.example/{}' }), '/enrich/url', 'bad_url', /name of a field/],
  ['an open place', enrich({ url: 'https://a.example/{id' }), '/enrich/url', 'bad_url', /%7B/],
  ['nested places', enrich({ url: 'https://a.example/{a{b}}' }), '/enrich/url', 'bad_url', /%7B/],
  ['a relative URL', enrich({ url: '/score/{id}' }), '/enrich/url', 'bad_url', /absolute/],
  ['another scheme', enrich({ url: 'file:///etc/passwd' }), '/enrich/url', 'bad_url', /http/],
  ['a host from the item', enrich({ url: 'https://{host}/a' }), '/enrich/url', 'bad_url', /host is fixed/],
  ['a part of the host from the item', enrich({ url: 'https://a.{h}.b/' }), '/enrich/url', 'bad_url', /host is fixed/],
  ['a port from the item', enrich({ url: 'https://a.example:{p}/' }), '/enrich/url', 'bad_url', /host is fixed/],
  ['a scheme from the item', enrich({ url: '{url}' }), '/enrich/url', 'bad_url', /absolute/],
  ['a header', enrich({ headers: { 'x-a': 'b\r\nc: d' } }), '/enrich/headers/x-a', 'bad_header', /CR/],
  ['the Host header', enrich({ headers: { Host: 'x' } }), '/enrich/headers/Host', 'bad_header', /set by the fetcher/],
  ['an expression', enrich({ set: { 'a/b': 'a..b' } }), '/enrich/set/a~1b', 'bad_json', /JMESPath/],
  ['two statements', lookup({ query: 'select 1; select 2' }), '/lookup/query', 'bad_query', /more than one/],
  [
    'a URL with a password',
    enrich({ url: 'https://me:secret@api.example/' }),
    '/enrich/url',
    'bad_url',
    /Authorization/,
  ],
  ['too few fields', lookup({ query: 'select $2', params: ['a'] }), '/lookup/params', 'bad_params', /\$1 to \$2/],
  ['too many fields', lookup({ params: ['a', 'b'] }), '/lookup/params', 'bad_params', /2 fields.*no parameter/],
  ['no condition', { drop: { field: 'a' } }, '/drop', 'no_condition', /missing, equals/],
  ['two conditions', { drop: { field: 'a', below: 1, above: 2 } }, '/drop/above', 'conflict', /own/],
  ['a regex', { drop: { field: 'a', match: '(?=a)' } }, '/drop/match', 'bad_regex', /lookaround/],
  ['one name twice', { rename: { a: 'c', b: 'c' } }, '/rename/b', 'conflict', /"c"/],
];
for (const [name, step, pointer, code, message] of MISTAKES)
  test(`a step’s mistake: ${name}`, () => {
    const problems = checkSpider({ pipeline: [{ pick: ['a'] }, step] });
    assert.deepEqual(
      problems.map((problem) => [problem.pointer, problem.code]),
      [[`/pipeline/1${pointer}`, code]],
    );
    assert.match(problems[0]!.message, message);
  });

test('steps without a mistake', () => {
  const pipeline = [
    { type: 'a', validate: { type: 'object', required: ['a'] } },
    { dedupe: { key: ['a'], scope: 'spider' } },
    enrich({ url: 'https://a.example/{a}/b?c={d}#{e}', headers: { authorization: 'Bearer x' } }),
    enrich({ method: 'PUT' }),
    enrich({ send: { a: 'b' }, batch: 5 }),
    lookup({ query: "select '$3' where $1 = $1", params: ['a'] }),
    { drop: { field: 'a', equals: null } },
    { drop: { field: 'a', missing: false } },
    { rename: { a: 'b', b: 'a' } },
    { pick: ['a'] },
    { set: { a: null } },
  ];
  assert.deepEqual(checkSpider({ name: 'a', pipeline }), []);
});

test('what is not a step at all is left to the schema', () => {
  for (const pipeline of [
    null,
    1,
    'a',
    {},
    [1, null, 'a', [], { drop: 1, set: null }, { validate: [] }, { unknown: 1 }],
  ])
    for (const problem of checkSpider({ pipeline })) assert.match(problem.code, /conflict/);
  for (const step of [{ enrich: { url: 1, set: [], headers: { a: 1 }, send: 1 } }, { lookup: { query: 1 } }])
    checkSpider({ pipeline: [step] });
});

test('names that no item and no earlier step has', () => {
  const pages = [{ name: 'book', items: [{ fields: { title: 'h1' } }, { type: 'offer', fields: { price: 'b' } }] }];
  const pipeline = [
    { type: 'bok', set: { source: 'web' } },
    { drop: { field: 'pric', missing: true } },
    { dedupe: { key: ['title', 'isbn'] } },
    { rename: { isbn: 'id', title: 'name' } },
    enrich({ url: 'https://a.example/{source}/{nme}', send: { a: 'name', b: 'score' }, set: { score: 'x' } }),
    lookup({ query: 'select $1', params: ['score'] }),
    { pick: ['a', 'stock'] },
  ];
  const problems = checkSpider({ pages, pipeline });
  assert.deepEqual(
    problems.map(({ pointer, code }) => [pointer, code]),
    [
      ['/pipeline/0/type', 'unknown_name'],
      ['/pipeline/1/drop/field', 'unknown_name'],
      ['/pipeline/2/dedupe/key/1', 'unknown_name'],
      ['/pipeline/3/rename/isbn', 'unknown_name'],
      ['/pipeline/4/enrich/url', 'unknown_name'],
      ['/pipeline/4/enrich/send/b', 'unknown_name'],
      ['/pipeline/6/pick/1', 'unknown_name'],
    ],
  );
  assert.match(problems[0]!.message, /no item has the type "bok"; did you mean "book"\?/);
  assert.match(problems[1]!.message, /"pric" is no field of the items at this step; did you mean "price"\?/);
  assert.deepEqual(checkSpider({ script: 'x', pipeline }), []);
  assert.deepEqual(checkSpider({ pages: [{ follow: [{ selector: 'a' }] }], pipeline }), []);
});
