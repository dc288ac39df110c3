import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StepAnswer } from '../../dist/model/outcome.js';
import type { Step } from '../../dist/model/step_schema.js';
import { ItemSink } from '../../dist/parser/items.js';
import { compileSteps, StepFailed } from '../../dist/parser/steps.js';

type Data = Record<string, unknown>;
const sinkOf = (pipeline: Step[]) => new ItemSink(compileSteps({ pipeline }));
const dataOf = (sink: ItemSink) => sink.items.map(({ data }) => JSON.parse(data) as Data);

/** Runs one item through steps that ask nothing. @returns its data, or why it was dropped */
function run(pipeline: Step[], data: Data, type = 'book'): Data | string {
  const sink = sinkOf(pipeline);
  sink.add(type, { ...data });
  return dataOf(sink)[0] ?? Object.keys(sink.dropped)[0]!;
}

const PURE: [string, Step, Data, Data | string][] = [
  ['validate keeps what fits', { validate: { type: 'object', required: ['a'] } }, { a: 1 }, { a: 1 }],
  ['validate drops what lacks a field', { validate: { required: ['b'] } }, { a: 1 }, 'validate: /b required'],
  [
    'validate names the first misfit',
    { validate: { properties: { a: { minimum: 3 }, b: { type: 'string' } } } },
    { a: 1, b: 2 },
    'validate: /a minimum',
  ],
  [
    'validate: of a list, any place is *',
    { validate: { properties: { tags: { items: { type: 'string' } } } } },
    { tags: ['a', 1] },
    'validate: /tags/* type',
  ],
  [
    'validate: of anyOf, the whole',
    { validate: { properties: { a: { anyOf: [{ type: 'string' }, { type: 'null' }] } } } },
    { a: 1 },
    'validate: /a anyOf',
  ],
  ['validate: a pattern', { validate: { properties: { a: { pattern: '^x' } } } }, { a: 'yx' }, 'validate: /a pattern'],
  ['validate: the schema false', { validate: { properties: { a: false } } }, { a: 1 }, 'validate: /a boolean'],
  ['drop missing', { drop: { field: 'a', missing: true } }, { a: '' }, 'drop: a'],
  ['drop missing keeps a value', { drop: { field: 'a', missing: true } }, { a: 0 }, { a: 0 }],
  ['drop where there is a value', { drop: { field: 'a', missing: false } }, { a: 0 }, 'drop: a'],
  ['drop equals', { drop: { field: 'a', equals: { x: [1], y: 2 } } }, { a: { y: 2, x: [1] } }, 'drop: a'],
  ['drop equals null', { drop: { field: 'a', equals: null } }, { a: null }, 'drop: a'],
  ['drop equals null: not where it is absent', { drop: { field: 'a', equals: null } }, { b: 1 }, { b: 1 }],
  ['drop equals is exact', { drop: { field: 'a', equals: '1' } }, { a: 1 }, { a: 1 }],
  ['drop equals a member of a list', { drop: { field: 'a', equals: 'x' } }, { a: ['y', 'x'] }, 'drop: a'],
  ['drop match', { drop: { field: 'a', match: '(?i)sold out' } }, { a: 'SOLD OUT!' }, 'drop: a'],
  ['drop match of a number', { drop: { field: 'a', match: '^4' } }, { a: 42 }, 'drop: a'],
  ['drop match needs a text', { drop: { field: 'a', match: '' } }, { a: null }, { a: null }],
  ['drop below', { drop: { field: 'a', below: 5 } }, { a: 4.9 }, 'drop: a'],
  ['drop below: not the limit', { drop: { field: 'a', below: 5 } }, { a: 5 }, { a: 5 }],
  ['drop below: not a text', { drop: { field: 'a', below: 5 } }, { a: '4' }, { a: '4' }],
  ['drop above', { drop: { field: 'a', above: 5 } }, { a: 6 }, 'drop: a'],
  ['rename keeps the place', { rename: { b: 'x' } }, { a: 1, b: 2, c: 3 }, { a: 1, x: 2, c: 3 }],
  ['rename swaps', { rename: { a: 'b', b: 'a' } }, { a: 1, b: 2 }, { b: 1, a: 2 }],
  ['rename wins over a field of that name', { rename: { a: 'b' } }, { b: 0, a: 1 }, { b: 1 }],
  ['rename of what is not there', { rename: { x: 'b' } }, { b: 0 }, { b: 0 }],
  ['pick, in its order', { pick: ['c', 'a', 'x'] }, { a: 1, b: 2, c: null }, { c: null, a: 1 }],
  ['set', { set: { a: null, b: [1, { c: 2 }] } }, { a: 1 }, { a: null, b: [1, { c: 2 }] }],
  ['a step for another type', { type: 'author', set: { a: 2 } }, { a: 1 }, { a: 1 }],
  ['a step for this type', { type: 'book', set: { a: 2 } }, { a: 1 }, { a: 2 }],
];
for (const [name, step, data, expected] of PURE)
  test(`step: ${name}`, () => {
    const result = run([step], data);
    assert.deepEqual(result, expected);
    if (typeof result === 'object') assert.deepEqual(Object.keys(result), Object.keys(expected), 'in this order');
  });

test('steps run in their order, and what is dropped is not counted as an item', () => {
  const sink = sinkOf([
    { rename: { title: 'name' } },
    { drop: { field: 'name', equals: 'x' } },
    { set: { seen: true } },
  ]);
  sink.add('book', { title: 'x' });
  sink.add('book', { title: 'y' });
  assert.deepEqual(dataOf(sink), [{ name: 'y', seen: true }]);
  assert.deepEqual({ ...sink.outcome().fills }, { book: 1, 'book.name': 1, 'book.seen': 1 });
  assert.deepEqual({ ...sink.dropped }, { 'drop: name': 1 });
});

test('__proto__ is a field like any other', () => {
  const data = JSON.parse('{"__proto__": {"x": 1}, "a": 2}');
  const own = Object.assign(Object.create(null), data);
  const sink = sinkOf([{ rename: { a: 'b' } }, { pick: ['__proto__', 'b'] }]);
  sink.add('book', own);
  assert.equal(sink.items[0]!.data, '{"__proto__":{"x":1},"b":2}');
});

test('a page without steps costs nothing more: no places, no keys, nothing pending', () => {
  const sink = new ItemSink(compileSteps({}));
  sink.add('book', { a: 1 });
  assert.deepEqual(Object.keys(sink.outcome()), ['items', 'dropped', 'fills']);
  assert.deepEqual(Object.keys(sink.items[0]!), ['type', 'data', 'size']);
});

const keysOf = (step: Step, data: Data, type = 'book') => {
  const sink = sinkOf([step]);
  sink.add(type, data);
  return sink.items[0]!.keys?.map(({ key }) => key) ?? [];
};

test('dedupe: equal values have one key, whatever the order of their members', () => {
  const step: Step = { dedupe: { key: ['a', 'b'] } };
  const key = keysOf(step, { a: 1, b: { x: 1, y: [2] } });
  assert.match(key[0]!, /^[\da-f]{32}$/);
  assert.deepEqual(keysOf(step, { b: { y: [2], x: 1 }, c: 3, a: 1 }), key);
  for (const other of [
    { a: '1', b: { x: 1, y: [2] } },
    { a: 1, b: { x: 1, y: [2, null] } },
    { a: { x: 1, y: [2] }, b: 1 },
  ])
    assert.notDeepEqual(keysOf(step, other), key);
  assert.notDeepEqual(keysOf({ type: 'book', ...step }, { a: 1, b: { x: 1, y: [2] } }), key);
});

test('dedupe: an item that lacks a part of the key has none; several steps give several keys', () => {
  assert.deepEqual(keysOf({ dedupe: { key: ['a', 'b'] } }, { a: 1, b: '' }), []);
  const sink = sinkOf([{ dedupe: { key: ['a'] } }, { dedupe: { key: ['b'], scope: 'spider' } }]);
  sink.add('book', { a: 1, b: 2 });
  assert.deepEqual(
    sink.items[0]!.keys!.map(({ scope }) => scope),
    ['crawl', 'spider'],
  );
});

const ENRICH: Step = { enrich: { url: 'https://api.example/{id}', set: { score: 'a.b', first: 'list[0]' } } };

/** Answers what waits until nothing does. */
function finish(pipeline: Step[], sink: ItemSink, answer: (question: string) => StepAnswer): ItemSink[] {
  const { pending } = sink.outcome();
  if (pending === undefined) return [sink];
  const next = sinkOf(pipeline);
  for (const item of pending.waiting) next.resume(item, answer(JSON.stringify(item.question)));
  return [sink, ...finish(pipeline, next, answer)];
}

test('enrich asks with the item’s values in the URL, and sets fields from the answer', () => {
  const sink = sinkOf([ENRICH, { drop: { field: 'score', below: 5 } }]);
  sink.add('book', { id: 'a/b ü?' });
  sink.add('book', { id: 7 });
  const { pending } = sink.outcome();
  assert.deepEqual(
    pending!.waiting.map(({ question, step, place }) => ({ question, step, place })),
    [
      { question: { kind: 'enrich', url: 'https://api.example/a%2Fb%20%C3%BC%3F', body: null }, step: 0, place: 0 },
      { question: { kind: 'enrich', url: 'https://api.example/7', body: null }, step: 0, place: 1 },
    ],
  );
  const next = sinkOf([ENRICH, { drop: { field: 'score', below: 5 } }]);
  next.resume(pending!.waiting[0]!, { text: '{"a":{"b":9},"list":[]}' });
  next.resume(pending!.waiting[1]!, { text: '{"a":{"b":1}}' });
  assert.deepEqual(dataOf(next), [{ id: 'a/b ü?', score: 9, first: null }]);
  assert.deepEqual({ ...next.dropped }, { 'drop: score': 1 });
});

test('enrich sends the fields that `send` names, or the whole item', () => {
  const bodyOf = (enrich: Partial<NonNullable<Step['enrich']>>) => {
    const sink = sinkOf([{ enrich: { url: 'https://api.example', set: {}, ...enrich } }]);
    sink.add('book', { a: 1, b: null });
    const { question } = sink.outcome().pending!.waiting[0]!;
    return question.kind === 'enrich' ? question.body : null;
  };
  assert.equal(bodyOf({ send: { text: 'a', more: 'x' } }), '{"text":1,"more":null}');
  assert.equal(bodyOf({ method: 'POST' }), '{"a":1,"b":null}');
  assert.equal(bodyOf({ batch: 10 }), '{"a":1,"b":null}');
  assert.equal(bodyOf({}), null);
});

test('lookup asks with the values of the fields, and takes columns of the row; null where there is none', () => {
  const pipeline: Step[] = [
    { lookup: { connection: 'c', query: 'q', params: ['isbn', 'none'], set: { sku: 'sku', more: 'constructor' } } },
  ];
  const sink = sinkOf(pipeline);
  sink.add('book', { isbn: ['1', 2] });
  sink.add('book', { isbn: null });
  assert.deepEqual(
    sink.outcome().pending!.waiting.map(({ question }) => question),
    [
      { kind: 'lookup', params: [['1', 2], null] },
      { kind: 'lookup', params: [null, null] },
    ],
  );
  const [, answered] = finish(pipeline, sink, (question) => ({
    text: question.includes('"1"') ? '[{"sku":"s"}]' : '[]',
  }));
  assert.deepEqual(dataOf(answered!), [
    { isbn: ['1', 2], sku: 's', more: null },
    { isbn: null, sku: null, more: null },
  ]);
});

const failing = (onError: 'keep' | 'drop' | 'fail' | undefined): Step[] => [
  { set: { before: 1 } },
  { enrich: { url: 'https://api.example/{id}', set: { score: 'length(x)' }, ...(onError && { onError }) } },
  { set: { after: 1 } },
];
for (const [answer, code] of [
  [{ error: 'timeout' }, 'timeout'],
  [{ text: '{"x":' }, 'bad_json'],
  [{ text: `${'['.repeat(600)}${']'.repeat(600)}` }, 'bad_json'],
  [{ text: '{"x":5}' }, 'bad_answer'],
] as [StepAnswer, string][])
  test(`onError says what becomes of an item whose answer is ${code}`, () => {
    const after = (onError: 'keep' | 'drop' | undefined) => {
      const sink = sinkOf(failing(onError));
      sink.add('book', { id: 1 });
      return finish(failing(onError), sink, () => answer)[1]!;
    };
    for (const kept of [after(undefined), after('keep')]) {
      assert.deepEqual(dataOf(kept), [{ id: 1, before: 1, after: 1 }]);
      assert.deepEqual({ ...kept.outcome().steps }, { [`enrich[1]: ${code}`]: 1 });
    }
    assert.deepEqual({ ...after('drop').dropped }, { [`enrich: ${code}`]: 1 });
    const sink = sinkOf(failing('fail'));
    sink.add('book', { id: 1 });
    assert.throws(() => finish(failing('fail'), sink, () => answer), new StepFailed(`enrich[1]: ${code}`));
  });

test('an item that lacks what the URL needs is not asked about', () => {
  const sink = sinkOf(failing('drop'));
  sink.add('book', { id: null });
  assert.deepEqual({ ...sink.dropped }, { 'enrich: no_value': 1 });
  const kept = sinkOf(failing('keep'));
  kept.add('book', {});
  assert.deepEqual(dataOf(kept), [{ before: 1, after: 1 }]);
  assert.deepEqual({ ...kept.outcome().steps }, { 'enrich[1]: no_value': 1 });
});

test('items keep their places and their keys while some of them wait', () => {
  const pipeline: Step[] = [
    { dedupe: { key: ['id'] } },
    { type: 'slow', lookup: { connection: 'c', query: 'q', params: ['id'], set: { a: 'a' } } },
    { type: 'slow', enrich: { url: 'https://api.example/{id}', set: { b: 'b' } } },
  ];
  const sink = sinkOf(pipeline);
  sink.add('slow', { id: 0 });
  sink.add('quick', { id: 1 });
  sink.add('slow', { id: 2 });
  const sinks = finish(pipeline, sink, (question) => ({ text: question.includes('lookup') ? '[]' : '{"b":2}' }));
  assert.equal(sinks.length, 3);
  assert.deepEqual(sinks[0]!.outcome().pending!.places, [1]);
  assert.deepEqual(sinks[1]!.items, []);
  assert.deepEqual(dataOf(sinks[2]!), [
    { id: 0, a: null, b: 2 },
    { id: 2, a: null, b: 2 },
  ]);
  assert.ok(sinks[2]!.items.every(({ keys }) => keys?.length === 1));
});

test('what an answer brings counts against the limits of items and pages', () => {
  const sink = sinkOf([ENRICH]);
  for (let i = 0; i < 10; i++) sink.add('book', { id: i });
  const next = sinkOf([ENRICH]);
  const answer = (size: number) => ({ text: JSON.stringify({ a: { b: 'x'.repeat(size) } }) });
  sink.outcome().pending!.waiting.forEach((item, i) => {
    next.resume(item, answer(i === 0 ? 1_100_000 : 1_000_000));
  });
  assert.deepEqual({ ...next.dropped }, { too_large: 1 });
  assert.equal(next.items.length, 8);
  assert.equal(next.full, true);
});

test('what is counted by a name is counted under one that an index holds', () => {
  const sink = new ItemSink();
  const name = Array.from({ length: 3000 }, (_, i) => String.fromCodePoint(0x4e00 + 7 * i)).join('');
  sink.add('item', { [name]: 1 });
  assert.deepEqual({ ...sink.outcome().fills }, { item: 1, [`item.${name.slice(0, 300)}`]: 1 });
  assert.deepEqual(dataOf(sink), [{ [name]: 1 }]);
});
