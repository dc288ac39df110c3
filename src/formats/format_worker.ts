import { parentPort } from 'node:worker_threads';
import { CsvEncoder } from './csv.ts';
import type { Encoder } from './encoder.ts';
import type { FormatWork, FromFormatThread, ToFormatThread } from './format_protocol.ts';
import { narrowed } from './item_json.ts';
import { parquetEncoder } from './parquet.ts';

const files = new Map<number, Encoder>();

parentPort?.on('message', ({ job, work }: ToFormatThread) => {
  make(work).then(
    (made) => reply({ job, made }, typeof made === 'string' ? [] : [made.buffer as ArrayBuffer]),
    (error: Error) => reply({ job, error: error.message }),
  );
});

async function make(work: FormatWork): Promise<Uint8Array | string> {
  switch (work.kind) {
    case 'narrow':
      return narrowed(work.data, work.narrowing);
    case 'rows':
      return new Uint8Array(new CsvEncoder(work.shape).encode(work.items)); // a copy: a buffer may lie in a pool
    case 'begin': {
      const encoder = await parquetEncoder(work.shape);
      files.set(work.file, encoder);
      return encoder.begin();
    }
    case 'encode':
      return fileOf(work.file).encode(work.items);
    case 'end':
      return fileOf(work.file).end();
    case 'drop':
      files.delete(work.file);
      return '';
  }
}

function fileOf(file: number): Encoder {
  const encoder = files.get(file);
  if (encoder === undefined) throw new Error('the file was not begun in this thread');
  return encoder;
}

function reply(message: FromFormatThread, moved: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, moved);
}
