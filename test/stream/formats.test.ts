import assert from 'node:assert/strict';
import { get, type IncomingMessage } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { parse as parseCsv } from 'csv-parse/sync';
import { parquetReadObjects } from 'hyparquet';
import type { StoredItem } from '../../dist/model/item.js';
import { inSlices } from '../../dist/routes/item_formats.js';
import { storedItem } from '../formats/items.ts';
import { commitItems, type TestApi, testApi } from '../routes/api.ts';

let api: TestApi;
let base: string;
/** Of a finished crawl with 1,200 items. */
let done: string;
const TOTAL = 1200;
before(async () => {
  api = await testApi();
  base = await api.app.listen({ port: 0, host: '127.0.0.1' });
  done = await api.start();
  await commitItems(api.sql, done, TOTAL, dataOf);
  await end(done);
});
after(() => api.stop());

const dataOf = (i: number) => `{"n":${i},"s":"a, \\"${i}\\"","o":{"x":${i},"l":[1]}}`;
const upTo = (n: number, from = 0) => Array.from({ length: n - from }, (_, i) => from + i);

async function end(id: string): Promise<void> {
  await api.sql`update crawls set state = 'finished', stop_reason = 'finished', ended_at = now() where id = ${id}`;
  api.wakeups.publish([id]);
}

interface Got {
  status: number;
  headers: IncomingMessage['headers'];
  /** Decoded. */
  body: Buffer;
  /** Whether the body came to its end. */
  whole: boolean;
}

/** Asks without anything of `fetch` between; leaves once `enough` of the body is there. */
function ask(path: string, headers: Record<string, string> = {}, enough = Infinity): Promise<Got> {
  return new Promise((resolve, reject) => {
    const request = get(base + path, { headers, agent: false }, (response) => {
      const coding = response.headers['content-encoding'];
      const decoder = coding === 'gzip' ? createGunzip() : coding === 'zstd' ? createZstdDecompress() : null;
      const source = decoder === null ? response : response.pipe(decoder);
      const pieces: Buffer[] = [];
      const give = (whole: boolean) => {
        request.destroy();
        decoder?.destroy();
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(pieces), whole });
      };
      let bytes = 0;
      source.on('data', (piece: Buffer) => {
        pieces.push(piece);
        bytes += piece.length;
        if (bytes >= enough) give(false);
      });
      source.once('end', () => give(true));
      source.once('error', () => give(false));
      response.once('error', () => give(false));
    });
    request.once('error', reject);
  });
}

/** The offsets of a body, of its whole rows alone where it was cut. */
const OFFSETS: Record<string, (got: Got) => Promise<number[]> | number[]> = {
  ndjson: ({ body }) => wholeLines(body).map((line) => (JSON.parse(line) as { offset: number }).offset),
  sse: ({ body }) => [...String(body).matchAll(/^id: (\d+)\ndata: .*\n\n/gm)].map(([, offset]) => Number(offset)),
  csv: ({ body }) =>
    (
      parseCsv(String(body).slice(0, String(body).lastIndexOf('\r\n') + 2), { columns: true }) as { offset: string }[]
    ).map(({ offset }) => Number(offset)),
  'json-array': ({ body, whole }) => {
    const text = whole ? String(body) : `${String(body).slice(0, String(body).lastIndexOf(',\n{'))}]`;
    return (JSON.parse(text) as { offset: number }[]).map(({ offset }) => offset);
  },
  // A file without its end is none: it is asked for anew from where it began.
  parquet: async ({ body, whole }) =>
    whole ? (await parquetReadObjects({ file: new Uint8Array(body).buffer })).map(({ offset }) => Number(offset)) : [],
};
const wholeLines = (body: Buffer) => String(body).split('\n').slice(0, -1);
const FORMATS = Object.keys(OFFSETS);
const CODINGS_OF: Record<string, string[]> = { parquet: ['identity'], csv: ['identity', 'gzip', 'zstd'] };

describe('45: every offset once by `after`, in each format', () => {
  for (const format of FORMATS)
    for (const coding of CODINGS_OF[format] ?? ['identity', 'gzip'])
      it(`${format}, ${coding}, cut again and again while items are added`, async () => {
        const id = await api.start();
        await commitItems(api.sql, id, 30, dataOf);
        const writer = (async () => {
          for (let i = 0; i < 8; i++) {
            await commitItems(api.sql, id, 1 + (i % 7), dataOf);
            api.wakeups.publish([id]);
          }
          await end(id);
        })();
        const seen: number[] = [];
        for (let connects = 0, whole = false; connects < 100 && !whole; connects++) {
          const path = `/crawls/${id}/items?format=${format}&after=${seen.at(-1) ?? -1}`;
          const got = await ask(path, { 'accept-encoding': coding }, connects < 4 ? 700 + connects * 300 : Infinity);
          assert.deepEqual([got.status, got.headers['content-encoding'] ?? 'identity'], [200, coding]);
          seen.push(...(await OFFSETS[format]!(got)));
          whole = got.whole;
        }
        await writer;
        const [crawl] = await api.sql<{ items: number }[]>`select items from crawls where id = ${id}`;
        assert.deepEqual(seen, upTo(crawl!.items));
      });
});

describe('formats', () => {
  it('name themselves, and say by what they were chosen; files say so', async () => {
    const types: Record<string, string> = {
      ndjson: 'application/x-ndjson; charset=utf-8',
      sse: 'text/event-stream; charset=utf-8',
      json: 'application/json; charset=utf-8',
      csv: 'text/csv; charset=utf-8; header=present',
      'json-array': 'application/json; charset=utf-8',
      parquet: 'application/vnd.apache.parquet',
    };
    for (const [format, type] of Object.entries(types))
      for (const method of ['GET', 'HEAD']) {
        const response = await fetch(`${base}/crawls/${done}/items?format=${format}&limit=1`, { method });
        await response.arrayBuffer();
        const file = { csv: 'csv', 'json-array': 'json', parquet: 'parquet' }[format];
        assert.deepEqual(
          ['content-type', 'vary', 'content-disposition'].map((name) => response.headers.get(name)),
          [type, 'Accept, Accept-Encoding', file === undefined ? null : `attachment; filename="${done}.${file}"`],
          `${method} ${format}`,
        );
      }
    const chosen = async (accept: string) =>
      (await ask(`/crawls/${done}/items?limit=1`, { accept })).headers['content-type'];
    assert.match(String(await chosen('text/csv')), /^text\/csv/);
    assert.equal(await chosen('application/vnd.apache.parquet'), 'application/vnd.apache.parquet');
    assert.deepEqual(
      JSON.parse(String((await ask(`/crawls/${done}/items?limit=1`, { accept: 'application/json' })).body)).next,
      0,
    );
  });

  it('CSV: the header is there without items as well, and fields are the columns in their order', async () => {
    const lines = async (query: string) =>
      String((await ask(`/crawls/${done}/items?format=csv&${query}`)).body).split('\r\n');
    const [header, first] = await lines('limit=1');
    assert.equal(header, 'offset,type,url,scrapedAt,n,s,o,_other');
    assert.match(first!, /^0,even,https:\/\/books\.example\/0,\d{4}-[^,]*Z,0,"a, ""0""","\{""x"":0,""l"":\[1\]\}",$/);
    const picked = await lines('fields=s,nope,n&limit=1&after=6');
    assert.deepEqual(
      picked.map((line) => line.replace(/https.*Z,/, '')),
      ['offset,type,url,scrapedAt,s,nope,n', '7,odd,"a, ""7""",,7', ''],
    );
    assert.deepEqual(await lines('type=none'), ['offset,type,url,scrapedAt,_other', '']);
    assert.match((await lines('flatten=true&limit=1'))[0]!, /,n,s,o\.x,o\.l,_other$/);
  });

  it('the JSON array is one document, empty or not; the page and NDJSON flatten, too', async () => {
    const body = async (query: string) => String((await ask(`/crawls/${done}/items?${query}`)).body);
    assert.deepEqual(JSON.parse(await body('format=json-array&type=none')), []);
    const all = JSON.parse(await body('format=json-array')) as { data: unknown }[];
    assert.deepEqual([all.length, all[9]!.data], [TOTAL, JSON.parse(dataOf(9))]);
    const flat = { n: 4, s: 'a, "4"', 'o.x': 4, 'o.l': [1] };
    assert.deepEqual(JSON.parse(await body('after=3&limit=1&flatten=true')).data, flat);
    assert.deepEqual(JSON.parse(await body('after=3&limit=1&flatten=true&format=json')).items[0].data, flat);
    assert.deepEqual(JSON.parse(await body('after=3&limit=1&flatten=true&fields=o.l&format=json-array'))[0].data, {
      'o.l': [1],
    });
    assert.match(await body('after=3&limit=1&flatten=true&fields=o.l&format=sse'), /"data":\{"o\.l":\[1\]\}/);
  });

  it('every format gives all of a finished crawl', async () => {
    for (const format of FORMATS) {
      const got = await ask(`/crawls/${done}/items?format=${format}`);
      assert.deepEqual(await OFFSETS[format]!(got), upTo(TOTAL), format);
      const odd = await ask(`/crawls/${done}/items?format=${format}&type=odd&limit=3&after=100`);
      assert.deepEqual(await OFFSETS[format]!(odd), [101, 103, 105], format);
    }
  });

  it('as many Parquet files as may be are made at once; the next is told to wait', async () => {
    const id = await api.start();
    await commitItems(api.sql, id, 1);
    const leave = new AbortController();
    const path = `${base}/crawls/${id}/items?format=parquet`;
    const open = await Promise.all([...Array(8)].map(() => fetch(path, { signal: leave.signal })));
    assert.deepEqual(new Set(open.map(({ status }) => status)), new Set([200]));
    const refused = await fetch(path);
    assert.deepEqual([refused.status, refused.headers.get('retry-after') !== null], [503, true]);
    assert.equal((JSON.parse(await refused.text()) as { type: string }).type, 'too_busy');
    leave.abort();
    for (let tries = 0; tries < 1000; tries++) {
      const again = await fetch(`${path}&follow=false`);
      const { byteLength } = await again.arrayBuffer();
      if (again.status === 200) return assert.ok(byteLength > 100);
    }
    assert.fail('the files of readers that left are still open');
  });
});

describe('Accept-Encoding', () => {
  const cases: [string | null, string | number][] = [
    [null, 'identity'],
    ['', 'identity'],
    ['gzip, deflate, br, zstd', 'gzip'],
    ['zstd', 'zstd'],
    ['gzip;q=0.5, zstd;q=0.9', 'zstd'],
    ['x-gzip', 'gzip'],
    ['GZIP', 'gzip'],
    ['br', 'identity'],
    ['identity, gzip;q=0.1', 'identity'],
    ['gzip;q=0, *', 'zstd'],
    ['identity;q=0, gzip', 'gzip'],
    ['identity;q=0', 406],
    ['*;q=0', 406],
    ['br, *;q=0', 406],
  ];
  for (const [accept, expected] of cases)
    it(`${accept ?? 'absent'}: ${expected}`, async () => {
      for (const format of ['ndjson', 'json']) {
        const headers: Record<string, string> = accept === null ? {} : { 'accept-encoding': accept };
        const got = await ask(`/crawls/${done}/items?limit=2&format=${format}`, headers);
        assert.equal(got.status === 200 ? (got.headers['content-encoding'] ?? 'identity') : got.status, expected);
        if (got.status === 200) assert.ok(got.whole && String(got.body).includes('"offset":1'));
      }
    });

  it('Parquet is never compressed twice', async () => {
    const got = await ask(`/crawls/${done}/items?format=parquet`, { 'accept-encoding': 'gzip, zstd' });
    assert.equal(got.headers['content-encoding'], undefined);
  });

  it('an item is on the wire when it is committed, whatever the coding', async () => {
    for (const coding of ['gzip', 'zstd'])
      for (const format of ['ndjson', 'sse', 'csv', 'json-array']) {
        const id = await api.start();
        const first = ask(
          `/crawls/${id}/items?format=${format}`,
          { 'accept-encoding': coding },
          format === 'sse' ? 60 : 50,
        );
        await commitItems(api.sql, id, 1, dataOf);
        api.wakeups.publish([id]);
        const got = await first;
        assert.match(String(got.body), /books\.example\/0/, `${coding} ${format}`);
        assert.equal(got.whole, false);
      }
  });
});

describe('HEAD', () => {
  it('gives counts and no body, in any format', async () => {
    for (const format of ['ndjson', 'json', 'parquet']) {
      const response = await fetch(`${base}/crawls/${done}/items?format=${format}&type=odd`, { method: 'HEAD' });
      const { headers } = response;
      assert.deepEqual(
        [response.status, headers.get('x-total-items'), headers.get('x-next-offset'), headers.get('x-crawl-state')],
        [200, '1200', '1200', 'finished'],
      );
      assert.equal(await response.text(), '');
    }
    const missing = await fetch(`${base}/crawls/00000000-0000-7000-8000-000000000000/items`, { method: 'HEAD' });
    assert.equal(missing.status, 404);
  });
});

describe('never blocks', () => {
  it('7: a filter that nothing fits passes over a hundred thousand items, and the page says where to go on', async () => {
    const id = await api.start();
    await api.sql`
      insert into items (crawl_id, "offset", scraped_at, seq, size, type, url, data)
      select ${id}, n, now(), 0, 2, 'a', 'https://books.example/', '{}' from generate_series(0, 250000 - 1) n`;
    await api.sql`update crawls set items = 250000 where id = ${id}`;
    const page = JSON.parse(String((await ask(`/crawls/${id}/items?format=json&type=none`)).body));
    assert.deepEqual([page.items, page.next], [[], 199_999]);
    await end(id);
    const got = await ask(`/crawls/${id}/items?format=csv&type=none`);
    assert.equal(String(got.body), 'offset,type,url,scrapedAt,_other\r\n');
  });

  it('7: what is looked into is, a slice a turn, however many readers there are', async () => {
    const items = Array.from({ length: 300 }, (_, i) => storedItem(i, { text: 'x'.repeat(1000) }));
    const large = Array.from({ length: 3 }, (_, i) => storedItem(i, { text: 'x'.repeat(1_000_000) }));
    let turn = 0;
    let isOver = false;
    const tick = () => {
      turn += 1;
      if (!isOver) setImmediate(tick);
    };
    tick();
    const turns: number[] = [];
    const encode = (slice: readonly StoredItem[]) => {
      turns.push(turn);
      assert.ok(slice.length === 1 || slice.reduce((sum, { size }) => sum + size, 0) < 65_536);
      return Buffer.from(slice.map(({ offset }) => `${offset},`).join(''));
    };
    const got = await Promise.all([inSlices(items, encode), inSlices(large, encode), inSlices(items, encode)]);
    isOver = true;
    assert.deepEqual(
      got.map(String),
      [items, large, items].map((list) => list.map(({ offset }) => `${offset},`).join('')),
    );
    assert.ok(turns.length >= 13);
    assert.equal(new Set(turns).size, turns.length, 'two slices in one turn');
  });

  it('7: a megabyte of small fields is looked into in a thread, and comes as small ones do', async () => {
    const id = await api.start();
    const fields = Array.from({ length: 60_000 }, (_, i) => `"k${i}":${i}`).join(',');
    await commitItems(api.sql, id, 3, (i) => (i === 1 ? `{"o":{${fields}},"n":1}` : `{"o":{"k1":5},"n":${i}}`));
    await end(id);
    const body = async (query: string) => String((await ask(`/crawls/${id}/items?${query}`)).body);
    const rows = parseCsv(await body('format=csv&flatten=true&fields=o.k1,o.k59999,n'), { columns: true });
    assert.deepEqual(
      (rows as Record<string, string>[]).map((row) => [row['o.k1'], row['o.k59999'], row.n]),
      [
        ['5', '', '0'],
        ['1', '59999', '1'],
        ['5', '', '2'],
      ],
    );
    for (const format of ['ndjson', 'json-array', 'json']) {
      const text = await body(`flatten=true&fields=o.k1,n&format=${format}`);
      assert.deepEqual(
        [...text.matchAll(/"data":(\{[^}]*\})/g)].map(([, data]) => data),
        ['{"o.k1":5,"n":0}', '{"o.k1":1,"n":1}', '{"o.k1":5,"n":2}'],
      );
    }
  });
});
