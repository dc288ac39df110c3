import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import { parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { fileLayout } from '../../dist/exports/file_layout.js';
import { FileExport } from '../../dist/exports/files.js';
import { type Cursor, ExportError } from '../../dist/exports/target.js';
import type { FileTarget } from '../../dist/model/export.js';
import { conform, type Place, type Seen, someItems } from './conformance.ts';

const signal = new AbortController().signal;

type File = Pick<FileTarget, 'format' | 'gzip' | 'maxBytes'>;

function newTarget(directory: string, file: File): FileExport {
  const sources = async () => ({ definition: {}, compares: false, types: [], filled: [] });
  return new FileExport({ directory, name: 'items', layout: fileLayout(file, {}, sources) });
}

/** Files by name, in order; parts are none. */
async function filesOf(directory: string): Promise<[string, Buffer][]> {
  const names = (await readdir(directory).catch(() => [])).filter((name) => !/\.(part|free)$/.test(name)).sort();
  return Promise.all(names.map(async (name) => [name, await readFile(join(directory, name))] as [string, Buffer]));
}

async function rowsOf(name: string, body: Buffer): Promise<Seen[]> {
  const text = () => (name.endsWith('.gz') ? gunzipSync(body) : body).toString();
  if (name.includes('.ndjson'))
    return text()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Seen);
  if (name.includes('.csv'))
    return (parse(text(), { columns: true, bom: true }) as { offset: string; n?: string }[]).map(({ offset, n }) => ({
      offset: Number(offset),
      data: n,
    }));
  const file = new Uint8Array(body).buffer;
  const rows = (await parquetReadObjects({ file, compressors })) as { offset: bigint; n?: unknown }[];
  return rows.map(({ offset, n }) => ({ offset: Number(offset), data: String(n) }));
}

async function openFiles(directory: string): Promise<number> {
  const links = await readdir('/proc/self/fd');
  const paths = await Promise.all(links.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  return paths.filter((path) => path.startsWith(directory)).length;
}

async function newPlace(file: File): Promise<Place> {
  const root = await mkdtemp(join(tmpdir(), 'orbweaver-files-'));
  const directory = join(root, 'exports', 'a');
  return {
    target: () => newTarget(directory, file),
    read: async () => (await Promise.all((await filesOf(directory)).map((one) => rowsOf(...one)))).flat(),
    open: () => openFiles(root),
    remove: () => rm(root, { recursive: true }),
  };
}

const whole = {
  expected: ({ offset, data }: { offset: number; data: string }) => ({ offset, data: JSON.parse(data) }),
};
const lines = (seen: Seen[]) => seen.map(({ offset, data }) => ({ offset, data }));
for (const file of [
  { format: 'ndjson' },
  { format: 'ndjson', gzip: true },
  { format: 'ndjson', gzip: true, maxBytes: 1024 },
] as const) {
  const place = async () => {
    const made = await newPlace(file);
    return { ...made, read: async () => lines(await made.read()) };
  };
  conform(`NDJSON files ${JSON.stringify(file)}`, place, whole);
}
// What CSV and Parquet make of each value is tested where they are made (test/formats).
for (const file of [{ format: 'csv', maxBytes: 1024 }, { format: 'parquet' }] as const) {
  const place = async () => {
    const made = await newPlace(file);
    return { ...made, read: async () => (await made.read()).map(({ offset }) => ({ offset, data: null })) };
  };
  conform(`files of ${file.format}`, place, { expected: ({ offset }) => ({ offset, data: null }) });
}

describe('files', () => {
  const inDirectory = (work: (directory: string, root: string) => Promise<void>) => async () => {
    const root = await mkdtemp(join(tmpdir(), 'orbweaver-files-'));
    await work(join(root, 'exports', 'a'), root).finally(() => rm(root, { recursive: true }));
  };
  const write = async (target: FileExport, from: number, to: number) =>
    target.write({ items: someItems(to).slice(from), next: to });

  it(
    'are begun anew where they are full, and are there only when they are whole',
    inDirectory(async (directory) => {
      const target = newTarget(directory, { format: 'csv', maxBytes: 1024 });
      let cursor: Cursor = await target.open({ next: 0, position: null });
      for (let at = 0; at < 60; at += 10) {
        cursor = (await write(target, at, at + 10)) ?? cursor;
        for (const [name, body] of await filesOf(directory)) assert.ok(body.length >= 1024, name);
      }
      await target.flush(signal, true);
      cursor = await target.finish();
      await target.close();
      const files = await filesOf(directory);
      assert.ok(files.length > 1);
      assert.equal(files[0]![0], 'items-00001.csv');
      for (const [, body] of files) assert.match(body.toString(), /^offset,type,url,scrapedAt,n,_other\r\n/);
      assert.deepEqual(
        (await readdir(directory)).sort(),
        files.map(([name]) => name),
      );
      assert.equal(cursor.next, 60);
    }),
  );

  it(
    'of a crawl without items are one, with its header',
    inDirectory(async (directory) => {
      const target = newTarget(directory, { format: 'csv', gzip: true });
      await target.open({ next: 0, position: null });
      await target.flush(signal, true);
      const cursor = await target.finish();
      await target.flush(signal, true);
      await target.finish();
      await target.close();
      const again = newTarget(directory, { format: 'csv', gzip: true });
      await again.open(cursor);
      await again.flush(signal, true);
      await again.finish();
      await again.close();
      const [[name, body], ...more] = (await filesOf(directory)) as [[string, Buffer]];
      assert.deepEqual([name, more.length], ['items-00001.csv.gz', 0]);
      assert.match(gunzipSync(body).toString(), /^offset,/);
    }),
  );

  it(
    'whose directory goes away while they are written, or whose part does, begin anew with their first item',
    inDirectory(async (directory) => {
      const target = newTarget(directory, { format: 'ndjson' });
      await target.open({ next: 0, position: null });
      await write(target, 0, 5);
      const stored = (await target.flush(signal, false))!;
      assert.equal(stored.next, 5);
      await rm(directory, { recursive: true });
      await write(target, 5, 6);
      await target.flush(signal, true);
      await assert.rejects(target.finish(), (error) => error instanceof ExportError && error.code === 'gone');
      await target.close();
      const next = newTarget(directory, { format: 'ndjson' });
      assert.equal((await next.open(stored)).next, 0);
      await write(next, 0, 6);
      await next.flush(signal, true);
      await next.finish();
      await next.close();
      const [[name, body]] = (await filesOf(directory)) as [[string, Buffer]];
      assert.deepEqual([name, (await rowsOf(name, body)).length], ['items-00001.ndjson', 6]);
    }),
  );

  it(
    'are never written through a link',
    inDirectory(async (directory, root) => {
      await mkdir(join(root, 'exports'));
      await mkdir(join(root, 'elsewhere'));
      await symlink(join(root, 'elsewhere'), directory);
      const target = newTarget(directory, { format: 'ndjson' });
      await assert.rejects(
        target.open({ next: 0, position: null }),
        (error) => error instanceof ExportError && error.permanent && !error.message.includes(root),
      );
      await target.close();
      assert.deepEqual(await readdir(join(root, 'elsewhere')), []);
    }),
  );

  it(
    'say what is in the way, in plain words',
    inDirectory(async (directory) => {
      await mkdir(directory, { recursive: true });
      await writeFile(join(directory, 'items'), '');
      const target = newTarget(join(directory, 'items', 'x'), { format: 'ndjson' });
      await assert.rejects(
        target.open({ next: 0, position: null }),
        (error) => error instanceof ExportError && !error.permanent && /no directory/.test(error.message),
      );
      await target.close();
    }),
  );
});
