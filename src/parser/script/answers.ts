import { compile, type Schema } from '../../model/fits.ts';
import { recordOf } from '../../model/record.ts';
import { type Static, type TSchema, Type } from '../../model/type.ts';
import type { Frame } from './frames.ts';
import { type FromChild, LIMITS } from './protocol.ts';

// What a child says, read as a stranger's: the script's engine is a wall, and this is what stands if it falls. Shape and
// sizes are held to here; what links, items and headers mean is judged where they are used.

const closed = <T extends Record<string, TSchema>>(parts: T) => Type.Object(parts, { additionalProperties: false });
const Count = Type.Integer({ minimum: 0, maximum: 1e9 });
const Text = (maxLength: number) => Type.String({ maxLength });
const Texts = recordOf(Text(8000), { names: { maxLength: 200 }, maxProperties: 100 });
const Method = Type.Enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);

const Extra = closed({
  method: Type.Optional(Method),
  headers: Type.Optional(Texts),
  body: Type.Optional(Text(200_000)),
  page: Type.Optional(Text(200)),
  render: Type.Optional(Type.Literal(true)),
  pass: Type.Optional(recordOf(Type.Unknown())),
});
const Link = closed({
  url: Text(64 * 1024),
  priority: Type.Integer({ minimum: -1000, maximum: 1000 }),
  extra: Type.Union([Extra, Type.Null()]),
  denied: Type.Union([Text(1200), Type.Null()]),
});
const Item = closed({
  type: Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$' }),
  place: Count,
  keys: Type.Array(closed({ scope: Type.Enum(['crawl', 'spider']), key: Type.String({ pattern: '^[0-9a-f]{32}$' }) }), {
    maxItems: 50,
  }),
  wait: Type.Union([
    closed({
      step: Type.Integer({ minimum: 0, maximum: 50 }),
      question: Type.Union([
        closed({ kind: Type.Literal('enrich'), url: Text(16_000), body: Type.Union([Text(2_000_000), Type.Null()]) }),
        closed({ kind: Type.Literal('lookup'), params: Type.Array(Type.Unknown(), { maxItems: 20 }) }),
      ]),
    }),
    Type.Null(),
  ]),
});
const Ended = closed({
  page: Count,
  cpuMs: Type.Number({ minimum: 0, maximum: 1e9 }),
  failure: Type.Union([
    closed({
      reason: Type.Enum(['script_error', 'parse_timeout', 'parse_memory', 'pipeline_error']),
      message: Text(4000),
    }),
    Type.Null(),
  ]),
  items: Type.Array(Item, { maxItems: LIMITS.items }),
  steps: recordOf(Count, { names: { maxLength: 200 }, maxProperties: 500 }),
  links: Type.Array(Link, { maxItems: LIMITS.links }),
  dropped: recordOf(Count, { names: { maxLength: 10_000 }, maxProperties: 200 }),
  state: recordOf(Type.Union([Text(LIMITS.stateValueChars), Type.Null()]), {
    names: { maxLength: 200 },
    maxProperties: LIMITS.stateKeys,
  }),
  flags: Type.Array(Type.Enum(['items', 'links', 'depth', 'nodes', 'attributes']), { maxItems: 10 }),
  unlogged: Count,
  hits: Type.Array(closed({ language: Text(10), text: Text(1000), hits: Count }), { maxItems: 1000 }),
});
const Question = Type.Union([
  closed({
    kind: Type.Literal('fetch'),
    url: Text(8192),
    method: Method,
    headers: Texts,
    body: Type.Union([Text(200_000), Type.Null()]),
  }),
  closed({
    kind: Type.Literal('lookup'),
    connection: Text(100),
    query: Text(100_000),
    params: Type.Array(Type.Unknown(), { maxItems: 1000 }),
  }),
  closed({ kind: Type.Literal('read'), key: Text(200) }),
]);
const Message = Type.Union([
  closed({
    kind: Type.Literal('turn'),
    calls: Type.Array(closed({ page: Count, call: Count, question: Question }), { maxItems: 8 * LIMITS.calls }),
    ended: Type.Array(Ended, { maxItems: 8 }),
    description: Type.Union([closed({ spider: Type.Unknown() }), closed({ failure: Text(4000) }), Type.Null()]),
    unfit: Type.Union([Text(4000), Type.Null()]),
  }),
  closed({
    kind: Type.Literal('log'),
    page: Count,
    level: Type.Enum(['debug', 'info', 'warn', 'error']),
    message: Text(LIMITS.logChars),
  }),
  closed({ kind: Type.Literal('ready') }),
]);
const fits = compile(Message as Schema);

/** What a frame says. @throws where it is nothing that a child says */
export function readAnswer({ header, segments }: Frame): FromChild {
  if (!fits(header)) throw new Error('it is no message of a script process');
  const read = header as Static<typeof Message>;
  const items = read.kind === 'turn' ? read.ended.reduce((sum, one) => sum + one.items.length, 0) : 0;
  if (items !== segments.length) throw new Error(`${segments.length} items came where ${items} were announced`);
  return read;
}
