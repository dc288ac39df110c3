import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { parse } from 'csv-parse/sync';
import { parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { listExports } from '../../dist/db/exports.js';
import { fileLayout } from '../../dist/exports/file_layout.js';
import { S3Export } from '../../dist/exports/s3.js';
import { type Cursor, ExportError } from '../../dist/exports/target.js';
import type { FileTarget } from '../../dist/model/export.js';
import type { StoredItem } from '../../dist/model/item.js';
import { ENDED, postCrawl, waitFor } from '../support/client.ts';
import { testDatabase } from '../support/database.ts';
import { FAST, TITLE_SPIDER, treeSite } from '../support/pages.ts';
import { startService } from '../support/service.ts';
import { startSite } from '../support/site.ts';
import { needsSwift, SECRET, type Swift, startSwift } from '../support/swift.ts';
import { conform, type Place, type Seen, someItems } from './conformance.ts';

const signal = new AbortController().signal;
const BUCKET = 'items';
const CRAWL = '0190b6a0-0000-7000-8000-000000000001';
let swift: Swift;
let client: S3Client;
let places = 0;

before(async () => {
  if (needsSwift.skip !== false) return;
  swift = await startSwift({ smallestPart: 1 });
  client = new S3Client({
    endpoint: swift.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: 'crawler:tests', secretAccessKey: SECRET },
  });
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
});
after(async () => {
  client?.destroy();
  await swift?.stop();
});

type File = Pick<FileTarget, 'format' | 'gzip' | 'maxBytes'>;

function newTarget(prefix: string, file: File, more: { partBytes?: number; url?: string } = {}): S3Export {
  const sources = async () => ({ definition: { name: 'shop' }, compares: false, types: [], filled: [] });
  const settings = { url: swift.url(BUCKET), prefix, layout: fileLayout(file, {}, sources), partBytes: 1, ...more };
  return new S3Export(settings, { crawlId: CRAWL, n: 0, spider: 'shop' });
}

/** The objects of a prefix by their keys, in order. */
async function objects(prefix: string): Promise<[key: string, body: Buffer, type: string][]> {
  const list = await client.send(new ListObjectsV2Command({ Bucket: BUCKET, Prefix: prefix }));
  return Promise.all(
    (list.Contents ?? []).map(async ({ Key }) => {
      const { Body, ContentType } = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key }));
      return [Key!, Buffer.from(await Body!.transformToByteArray()), ContentType!] as [string, Buffer, string];
    }),
  );
}

async function uploads(prefix: string): Promise<number> {
  const list = await client.send(new ListMultipartUploadsCommand({ Bucket: BUCKET, Prefix: prefix }));
  return list.Uploads?.length ?? 0;
}

async function readItems(prefix: string, { format, gzip }: File): Promise<Seen[]> {
  const bodies = (await objects(prefix)).map(([, body]) => (gzip ? gunzipSync(body) : body));
  const all = await Promise.all(bodies.map((body) => READERS[format](body)));
  return all.flat();
}

const READERS: Record<File['format'], (body: Buffer) => Seen[] | Promise<Seen[]>> = {
  ndjson: (body) => {
    const lines = body.toString().split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Seen).map(({ offset, data }) => ({ offset, data }));
  },
  csv: (body) => (parse(body, { columns: true }) as Row[]).map(seenInRow),
  parquet: async (body) => {
    const bytes = body.buffer.slice(body.byteOffset, body.byteOffset + body.length) as ArrayBuffer;
    return (await parquetReadObjects({ file: bytes, compressors })).map((row) => seenInRow(row as Row));
  },
};

type Row = Record<string, string | bigint | null>;

/** A row with the text of one field alone: others are the formats' own tests' business. */
function seenInRow(row: Row): Seen {
  return { offset: Number(row.offset), data: String(row.n ?? '') };
}

/** As the conformance suite wants it; `file` says what the objects are. */
const place =
  (file: File, partBytes = 1) =>
  async (): Promise<Place> => {
    const prefix = `place-${++places}/{crawl}/`;
    return {
      target: () => newTarget(prefix, file, { partBytes }),
      read: () => readItems(prefix.replace('{crawl}', CRAWL), file),
      away: async () => {
        swift.away = true;
      },
      back: async () => {
        swift.away = false;
      },
      hopeless: () => newTarget(prefix, file, { url: swift.url('nowhere') }),
      open: () => swift.open(),
      remove: async () => {
        swift.away = false;
        swift.fault = () => null;
      },
    };
  };

/** Opens, writes the items in batches of four and finishes, as often as it takes. @returns what `write` gave */
async function carry(newOne: () => S3Export, items: readonly StoredItem[], stored: Cursor): Promise<Cursor> {
  let cursor = stored;
  const target = newOne();
  try {
    cursor = await target.open(cursor, signal);
    const wanted = items.filter(({ offset }) => offset >= cursor.next);
    for (let i = 0; i < wanted.length; i += 4) {
      const piece = wanted.slice(i, i + 4);
      cursor = (await target.write({ items: piece, next: piece.at(-1)!.offset + 1 }, signal)) ?? cursor;
    }
    cursor = (await target.flush(signal, true)) ?? cursor;
    return await target.finish(signal);
  } catch (error) {
    if (!(error instanceof ExportError) || error.permanent) throw error;
    await target.close();
    return carry(newOne, items, cursor);
  } finally {
    await target.close();
  }
}
const START: Cursor = { next: 0, position: null };

describe('S3', needsSwift, () => {
  conform('S3', place({ format: 'ndjson' }));

  for (const [file, type, objectsAtLeast] of [
    [{ format: 'ndjson', gzip: true, maxBytes: 1024 }, 'application/gzip', 1],
    [{ format: 'csv', maxBytes: 1024 }, 'text/csv; charset=utf-8; header=present', 2],
    [{ format: 'csv', gzip: true }, 'application/gzip', 1],
    [{ format: 'parquet' }, 'application/vnd.apache.parquet', 1],
  ] as const)
    it(`writes ${file.format}${'gzip' in file ? ' as gzip members' : ''}, opened anew in the midst of it`, async () => {
      const prefix = `formats-${++places}/`;
      const items = someItems(20);
      const first = newTarget(prefix, file);
      let cursor = await first.open(START, signal);
      for (const from of [0, 4, 8])
        cursor = (await first.write({ items: items.slice(from, from + 4), next: from + 4 }, signal)) ?? cursor;
      await first.close();
      const end = await carry(() => newTarget(prefix, file), items, JSON.parse(JSON.stringify(cursor)));
      assert.equal(end.next, items.length);
      const found = await objects(prefix);
      assert.ok(found.length >= objectsAtLeast, `${found.length} objects`);
      assert.deepEqual(
        found.map(([key, , contentType]) => [key, contentType]),
        found.map((_, i) => [`${prefix}${CRAWL}-0000${i + 1}.${file.format}${'gzip' in file ? '.gz' : ''}`, type]),
      );
      const seen = (await readItems(prefix, file)).map(({ offset }) => offset);
      assert.deepEqual(seen, [...items.keys()]);
      assert.equal(await uploads(prefix), 0);
    });

  it('an empty crawl leaves one object that can be read', async () => {
    for (const file of [
      { format: 'ndjson' },
      { format: 'ndjson', gzip: true },
      { format: 'csv', gzip: true },
      { format: 'parquet' },
    ] as const) {
      const prefix = `empty-${++places}/`;
      await carry(() => newTarget(prefix, file), [], START);
      assert.equal((await objects(prefix)).length, 1);
      assert.deepEqual(await readItems(prefix, file), []);
    }
  });

  it('moves the cursor with each part, and only then; what is too little for a part waits for the end', async () => {
    const prefix = `parts-${++places}/`;
    const items = someItems(10, () => JSON.stringify({ text: 'x'.repeat(100_000) }));
    const target = newTarget(prefix, { format: 'ndjson' }, { partBytes: 250_000 });
    await target.open(START, signal);
    const cursors: (number | null)[] = [];
    for (const item of items)
      cursors.push((await target.write({ items: [item], next: item.offset + 1 }, signal))?.next || null);
    assert.deepEqual(cursors, [null, null, 3, null, null, 6, null, null, 9, null]);
    assert.equal(await target.flush(signal, false), null);
    assert.equal((await objects(prefix)).length, 0, 'nobody sees half an object');
    assert.equal((await target.flush(signal, true))?.next, 10);
    await target.finish(signal);
    await target.close();
    assert.equal((await readItems(prefix, { format: 'ndjson' })).length, 10);
  });

  it('34: an answer that is lost doubles nothing and loses nothing, whichever it is', async () => {
    const items = someItems(12);
    for (const lost of ['?uploads', 'partNumber=1&', 'partNumber=2&', 'POST /items/lost.*uploadId=']) {
      const prefix = `lost-${++places}/`;
      let times = 0;
      // The call is repeated by the SDK at first, and then, as all its tries are lost, by a new target.
      swift.fault = (method, path) =>
        new RegExp(lost.replace('?', '\\?')).test(`${method} ${path}`) && ++times <= 2 ? 'lose' : null;
      const end = await carry(() => newTarget(prefix, { format: 'ndjson', maxBytes: 1024 }), items, START);
      swift.fault = () => null;
      assert.ok(times > 2, `${lost} was asked ${times} times`);
      assert.equal(end.next, 12);
      assert.deepEqual(
        await readItems(prefix, { format: 'ndjson' }),
        items.map(({ offset, data }) => ({ offset, data: JSON.parse(data) })),
      );
    }
  });

  it('begins an object anew where its upload is gone or holds the part of another, and goes on with the next', async () => {
    const items = someItems(12);
    for (const harm of ['abort', 'overwrite'] as const) {
      const prefix = `harm-${++places}/`;
      const target = newTarget(prefix, { format: 'ndjson' });
      let cursor = await target.open(START, signal);
      cursor = (await target.write({ items: items.slice(0, 4), next: 4 }, signal)) ?? cursor;
      cursor = (await target.write({ items: items.slice(4, 8), next: 8 }, signal)) ?? cursor;
      assert.equal(cursor.next, 8);
      const { upload } = cursor.position as { upload: { id: string } };
      const at = { Bucket: BUCKET, Key: `${prefix}${CRAWL}-00001.ndjson`, UploadId: upload.id };
      if (harm === 'abort') await client.send(new AbortMultipartUploadCommand(at));
      else await client.send(new UploadPartCommand({ ...at, PartNumber: 2, Body: 'of somebody else' }));
      // Its end comes without its having been opened again.
      cursor = (await target.write({ items: items.slice(8), next: 12 }, signal).catch(() => null)) ?? cursor;
      cursor = (await target.flush(signal, true).catch(() => null)) ?? cursor;
      await assert.rejects(
        target.finish(signal).then(() => target.write({ items, next: 12 }, signal)),
        ExportError,
      );
      await target.close();
      await carry(() => newTarget(prefix, { format: 'ndjson' }), items, cursor);
      const seen = (await readItems(prefix, { format: 'ndjson' })).map(({ offset }) => offset);
      assert.deepEqual(seen, [...items.keys()], harm);
    }
  });

  it('gives up what it has begun where the crawl is deleted', async () => {
    const prefix = `discard-${++places}/`;
    const target = newTarget(prefix, { format: 'ndjson' });
    await target.open(START, signal);
    const cursor = await target.write({ items: someItems(4), next: 4 }, signal);
    await target.close();
    assert.equal(await uploads(prefix), 1);
    const last = newTarget(prefix, { format: 'ndjson' });
    await last.discard(cursor!);
    await last.close();
    assert.equal(await uploads(prefix), 0);
  });

  it('a crawl’s items are in its bucket when it has ended', async () => {
    const site = await startSite(treeSite(3));
    const database = await testDatabase();
    const service = await startService({ DATABASE_URL: database.url, CONNECTIONS: `store=${swift.url(BUCKET)}` });
    try {
      const { id } = await postCrawl(service.url, {
        spider: TITLE_SPIDER,
        startUrls: [`${site.url}/`],
        settings: FAST,
        exports: [{ s3: { connection: 'store', format: 'csv', gzip: true, prefix: 'crawls/{crawl}/{spider}' } }],
      });
      await waitFor(service.url, id, ENDED);
      for (let tries = 0; (await listExports(database.sql, id))[0]?.state !== 'done'; tries++) {
        assert.ok(tries < 1200, JSON.stringify(await listExports(database.sql, id)));
        await sleep(50);
      }
      const found = await objects(`crawls/${id}/`);
      assert.deepEqual(
        found.map(([key]) => key),
        [`crawls/${id}/titles-00001.csv.gz`],
      );
      const rows = parse(gunzipSync(found[0]![1]), { columns: true }) as Row[];
      assert.deepEqual(rows.map(({ title }) => title).sort(), ['Page 0', 'Page 1', 'Page 2']);
    } finally {
      await service.stop();
      await database.drop();
      await site.close();
    }
  });

  for (const [title, fault, expected] of [
    ['SlowDown', { status: 503, code: 'SlowDown', headers: { 'retry-after': '1' } }, ['other', false, true]],
    ['a clock that is wrong', { status: 403, code: 'RequestTimeTooSkewed' }, ['other', false, false]],
    ['a key that may not', { status: 403, code: 'AccessDenied' }, ['refused', true, false]],
    ['another region', { status: 400, code: 'AuthorizationHeaderMalformed' }, ['refused', true, false]],
    ['a full storage', { status: 507, code: 'XMinioStorageFull' }, ['full', false, false]],
    ['a server in trouble', { status: 500, code: 'InternalError' }, ['other', false, false]],
  ] as const)
    it(`tells of ${title}`, async () => {
      swift.fault = (method) => (method === 'POST' || title === 'another region' ? fault : null);
      const failure = await failureOf(newTarget(`fault-${++places}/`, { format: 'ndjson' }));
      swift.fault = () => null;
      assert.deepEqual([failure.code, failure.permanent, failure.retryAt !== null], expected);
      assert.match(failure.message, new RegExp(fault.code === 'RequestTimeTooSkewed' ? 'clock' : fault.code));
      assert.doesNotMatch(failure.message, /127\.0\.0\.1|secret|crawler/);
    });

  it('tells of a wrong secret, of a key without rights and of no server', async () => {
    for (const [url, code, permanent, message] of [
      [swift.url(BUCKET, 'tests', 'wrong'), 'refused', true, /SignatureDoesNotMatch/],
      [swift.url(BUCKET, 'guest'), 'refused', true, /AccessDenied/],
      [swift.url('no_bucket'), 'refused', true, /NoSuchBucket|InvalidBucketName/],
      ['s3+http://key:secret@127.0.0.1:1/items', 'connect', false, /ECONNREFUSED/],
    ] as const) {
      const failure = await failureOf(newTarget('x/', { format: 'ndjson' }, { url }));
      assert.deepEqual([failure.code, failure.permanent], [code, permanent], failure.message);
      assert.match(failure.message, message);
      assert.doesNotMatch(failure.message, /127\.0\.0\.1|with\+signs|crawler/);
    }
  });

  it('ends a call that is not answered when it is broken off', async () => {
    swift.fault = () => 'hang';
    const breaking = new AbortController();
    const target = newTarget('x/', { format: 'ndjson' });
    const opening = target.open(START, breaking.signal);
    setTimeout(() => breaking.abort(), 50);
    await assert.rejects(opening, (error) => error instanceof ExportError && error.code === 'timeout');
    await target.close();
    swift.fault = () => null;
    assert.equal(await swift.open(), 0);
  });
});

async function failureOf(target: S3Export): Promise<ExportError> {
  try {
    await target.open(START, signal);
    await target.write({ items: someItems(1), next: 1 }, signal);
  } catch (error) {
    assert.ok(error instanceof ExportError);
    return error;
  } finally {
    await target.close();
  }
  return assert.fail('it did not fail');
}
