/**
 * A script's process that somebody has taken over: it answers with what its first argument says, whatever it is told. The
 * broker starts it in place of the real one.
 */
import { readSync, writeSync } from 'node:fs';
import { encodeFrame, FrameReader } from '../../../dist/parser/script/frames.js';

type Told = { kind: string; page?: number; call?: number };
type Trick = (told: Told, turns: number) => void;

const send = (header: object, segments: Uint8Array[] = []): void => {
  for (const piece of encodeFrame(header, segments))
    for (let at = 0; at < piece.length; ) at += writeSync(1, piece, at);
};
const ENDED = {
  cpuMs: 1,
  failure: null,
  items: [],
  steps: {},
  links: [],
  dropped: {},
  state: {},
  flags: [],
  unlogged: 0,
  hits: [],
};
const turnOf = (more: object) => ({ kind: 'turn', calls: [], ended: [], description: null, unfit: null, ...more });
const turn = (more: object, segments: Uint8Array[] = []) => send(turnOf(more), segments);
const end = (page: number, more: object = {}, segments: Uint8Array[] = []) =>
  turn({ ended: [{ page, ...ENDED, ...more }] }, segments);
const DEEP = '['.repeat(100_000) + ']'.repeat(100_000);
const raw = (text: string) => {
  const bytes = Buffer.from(text);
  const head = Buffer.alloc(8);
  head.writeUInt32LE(bytes.length + 4, 0);
  head.writeUInt32LE(bytes.length, 4);
  writeSync(1, Buffer.concat([head, bytes]));
};
const lookup = (page: number, call: number, params: unknown[] = []) => ({
  page,
  call,
  question: { kind: 'lookup', connection: 'c', query: 'select 1', params },
});
const fetch = (page: number, call: number, url: string, headers: object = {}) => ({
  page,
  call,
  question: { kind: 'fetch', url, method: 'GET', headers, body: null },
});
const link = (url: string, extra: object | null = null) => ({ url, priority: 0, extra, denied: null });
const burn = (): void => {
  for (;;);
};

/** Each is told of a page (`open` is answered as it should be), and of the results of its calls. */
const TRICKS: Record<string, Trick> = {
  'a page of its own making': ({ page }) => turn({ ended: [{ page: page! + 1000, ...ENDED }] }),
  'two answers': ({ page }) => {
    end(page!);
    end(page!);
  },
  'no answer, and lines without end': ({ page }) => {
    for (;;) send({ kind: 'log', page, level: 'info', message: 'x'.repeat(2000) });
  },
  'lines after its answer': ({ page }) => {
    turn({ calls: [lookup(page!, 1)] });
    for (;;) send({ kind: 'log', page, level: 'info', message: 'x' });
  },
  'ready again and again': () => {
    for (;;) send({ kind: 'ready' });
  },
  'work after its answer': ({ page }) => {
    turn({ calls: [lookup(page!, 1)] });
    burn();
  },
  'memory after its answer': ({ page }) => {
    turn({ calls: [lookup(page!, 1)] });
    const kept: Buffer[] = [];
    for (let i = 0; i < 1000; i++) {
      kept.push(Buffer.alloc(16 * 1024 * 1024, 1));
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
    burn();
  },
  'a deep value to look up': ({ kind, page }) =>
    kind === 'page'
      ? raw(JSON.stringify(turnOf({ calls: [lookup(page!, 1, ['deep'])] })).replace('"deep"', DEEP))
      : end(page!),
  'calls without end': ({ page }, turns) =>
    turn({ calls: Array.from({ length: 900 }, (_, i) => lookup(page!, turns * 1000 + i)) }),
  'a frame that drips': () => {
    const head = Buffer.alloc(4);
    head.writeUInt32LE(19 * 1024 * 1024, 0);
    writeSync(1, head);
    for (;;) writeSync(1, 'x');
  },
  'a frame that is too long': () => {
    writeSync(1, Buffer.alloc(64, 0xff));
    burn();
  },
  'a header that is longer than its frame': () => {
    writeSync(1, Buffer.from([8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 123, 125, 0, 0]));
    burn();
  },
  'no JSON': () => {
    raw('{"kind":"turn"');
    burn();
  },
  'a deep frame': () => {
    raw('['.repeat(5_000_000));
    burn();
  },
  'a prototype': ({ page }) => {
    raw(`{"__proto__":{"x":1},"kind":"turn","calls":[],"description":null,"unfit":null,"ended":[{"page":${page}}]}`);
    burn();
  },
  'items that are none': ({ page }) =>
    end(page!, { items: [{ type: 'item', place: 0, keys: [], wait: null }] }, [Buffer.from('[1]')]),
  'a deep item': ({ page }) =>
    end(page!, { items: [{ type: 'item', place: 0, keys: [], wait: null }] }, [
      Buffer.from(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
    ]),
  'items that wait for no step': ({ page }) =>
    end(
      page!,
      {
        items: [
          {
            type: 'item',
            place: 1e9,
            keys: [],
            wait: { step: 50, question: { kind: 'enrich', url: 'http://inside/', body: null } },
          },
        ],
      },
      [Buffer.from('{}')],
    ),
  'values passed on that are deep': ({ page }) =>
    raw(
      JSON.stringify(
        turnOf({ ended: [{ page, ...ENDED, links: [link('http://site.test/x', { pass: { a: 'deep' } })] }] }),
      ).replace('"deep"', DEEP),
    ),
  'a state that is no JSON': ({ page }) => end(page!, { state: { a: 'nonsense' } }),
  'counts that are none': ({ page }) => {
    end(page!, { dropped: { 'a\nb': 'x' } });
    burn();
  },
  'its page’s number as text': ({ page }) => {
    turn({ ended: [{ ...ENDED, page: `${page}` }] });
    burn();
  },
  'a description that nobody asked for': () => {
    turn({ description: { spider: { callbacks: [{ toString: 1 }] } } });
    burn();
  },
  // Harmless ones: what is wrong is left out or refused.
  'fetches outside': ({ kind, page }) =>
    kind === 'page'
      ? turn({
          calls: [
            fetch(page!, 1, 'http://127.0.0.1/'),
            fetch(page!, 2, 'file:///etc/passwd'),
            fetch(page!, 3, 'http://other.test/'),
            fetch(page!, 4, 'http://site.test/', { host: 'other.test' }),
            fetch(page!, 5, 'http://site.test/', { 'x-a': 'b\r\nx: y' }),
            fetch(page!, 6, 'http://user:pass@other.test:80/'),
          ],
        })
      : end(page!),
  'links outside': ({ page }) =>
    end(page!, {
      links: [
        link('http://127.0.0.1/'),
        link('file:///etc/passwd'),
        link('javascript:1'),
        link('http://other.test/'),
        link('\0\ud800'),
        link('http://site.test/h', { headers: { host: 'other.test' } }),
        link('http://site.test/fine'),
      ],
    }),
  'text that PostgreSQL does not hold': ({ page }) =>
    end(
      page!,
      {
        items: [{ type: 'item', place: 0, keys: [], wait: null }],
        dropped: { 'a\0\ud800': 1, ['__proto__']: 2, constructor: 3 },
        state: { 'k\0': '"\\u0000\\ud800"' },
      },
      [Buffer.from('{"a\\u0000":"\\ud800","__proto__":{"x":1}}')],
    ),
};

const trick = TRICKS[process.argv[2] ?? '']!;
const reader = new FrameReader(1024 * 1024 * 1024);
const buffer = Buffer.alloc(64 * 1024);
let turns = 0;
send({ kind: 'ready' });
for (let read = readSync(0, buffer); read > 0; read = readSync(0, buffer))
  for (const { header } of reader.push(Buffer.from(buffer.subarray(0, read)))) {
    const told = header as Told;
    if (told.kind === 'open' || told.kind === 'drop') turn({});
    else trick(told, turns++);
  }
