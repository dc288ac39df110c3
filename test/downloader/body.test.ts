import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { ByteSink } from '../../dist/downloader/body.js';

describe('the body of a response', () => {
  it('is what came, wherever its pieces begin and however long they are', () => {
    const bytes = randomBytes(300_000);
    for (const lengths of [[1], [7, 8, 9], [1000, 16_384], [65_535, 65_536, 65_537], [200_000, 3]]) {
      for (let begin = 0; begin < 9; begin++) {
        const sink = new ByteSink();
        let end = begin;
        for (let i = 0; end - begin < 4 * lengths.length * Math.min(lengths[0]!, 20_000); i++) {
          const piece = bytes.subarray(end, end + lengths[i % lengths.length]!);
          sink.append(piece);
          end += piece.length;
        }
        assert.equal(sink.length, end - begin);
        assert.equal(Buffer.compare(Buffer.from(sink.bytes), bytes.subarray(begin, end)), 0);
      }
    }
  });
});
