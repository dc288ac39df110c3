import { parentPort } from 'node:worker_threads';
import type { Encoder } from './encoder.ts';
import { parquetEncoder } from './parquet.ts';
import type { FromParquetThread, ToParquetThread } from './parquet_protocol.ts';

const files = new Map<number, Encoder>();

parentPort?.on('message', (message: ToParquetThread) => {
  if (message.kind === 'close') files.delete(message.file);
  else
    make(message).then(
      (bytes) => reply({ file: message.file, bytes }, bytes),
      (error: Error) => reply({ file: message.file, error: error.message }),
    );
});

async function make(message: Exclude<ToParquetThread, { kind: 'close' }>): Promise<Uint8Array> {
  if (message.kind === 'begin') {
    const encoder = await parquetEncoder(message.shape);
    files.set(message.file, encoder);
    return encoder.begin();
  }
  const encoder = files.get(message.file);
  if (encoder === undefined) throw new Error('the file was not begun');
  return message.kind === 'encode' ? encoder.encode(message.items) : encoder.end();
}

function reply(message: FromParquetThread, bytes?: Uint8Array): void {
  parentPort?.postMessage(message, bytes === undefined ? [] : [bytes.buffer as ArrayBuffer]);
}
