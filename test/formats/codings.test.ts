import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { constants, crc32, createGunzip, createZstdDecompress, gunzipSync, zstdDecompressSync } from 'node:zlib';
import { beginBody, CODINGS, pieceOf } from '../../dist/formats/codings.js';
import { joinCrc32 } from '../../dist/formats/gzip.js';
import { hasRoomForZstd } from '../../dist/formats/zstd.js';
import fc from '../support/property.ts';

const decode = {
  gzip: (bytes: Uint8Array) => gunzipSync(bytes),
  zstd: (bytes: Uint8Array) => zstdDecompressSync(bytes),
  identity: (bytes: Uint8Array) => Buffer.from(bytes),
};

describe('content codings', () => {
  it('joins checksums as if the texts were one', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.uint8Array({ maxLength: 3000 }), (a, b) => {
        assert.equal(joinCrc32(crc32(a), crc32(b), b.length), crc32(Buffer.concat([a, b])));
      }),
    );
    const long = Buffer.alloc(5_000_000, 'abc');
    assert.equal(joinCrc32(crc32('x'), crc32(long), long.length), crc32(Buffer.concat([Buffer.from('x'), long])));
  });

  for (const coding of CODINGS) {
    it(`${coding}: pieces of any size come back as they were, and an empty body is one`, async () => {
      const pieces = [...Array(40).keys()].map((i) => Buffer.from(`${i} `.repeat((i * i * i) % 7000)));
      for (const given of [pieces, [Buffer.alloc(2_000_000, 'long')], []]) {
        const body = beginBody(coding);
        const wire: Uint8Array[] = [];
        for (const piece of given) if (piece.length > 0) wire.push(await body.add(await pieceOf(coding, piece)));
        wire.push(await body.end());
        body.close();
        const text = decode[coding](Buffer.concat(wire)).toString();
        assert.ok(text === Buffer.concat(given).toString(), `${text.length} characters`);
      }
    });
  }

  it('each piece can be read whole before the next comes', async () => {
    for (const coding of ['gzip', 'zstd'] as const) {
      const reader = coding === 'gzip' ? createGunzip() : createZstdDecompress();
      const body = beginBody(coding);
      for (const text of ['first', 'second', 'x'.repeat(3000)]) {
        let got = '';
        reader.write(await body.add(await pieceOf(coding, Buffer.from(text))));
        while (got !== text) {
          const [piece] = (await once(reader, 'data')) as [Buffer];
          got += piece.toString();
          assert.ok(text.startsWith(got));
        }
      }
      reader.destroy();
      body.close();
    }
  });

  it('a piece is the same for all: two bodies of one piece, one behind another', async () => {
    const [a, b] = [await pieceOf('gzip', Buffer.from('a')), await pieceOf('gzip', Buffer.from('b'))];
    for (const [given, expected] of [
      [[a, b], 'ab'],
      [[b, a, a], 'baa'],
    ] as const) {
      const body = beginBody('gzip');
      const wire = given.map((piece) => body.add(piece) as Uint8Array);
      assert.equal(gunzipSync(Buffer.concat([...wire, await body.end()])).toString(), expected);
    }
  });

  it('compressors are bounded, and given back when they close', () => {
    const bodies = [];
    while (hasRoomForZstd()) bodies.push(beginBody('zstd'));
    assert.equal(bodies.length, 64);
    for (const body of bodies) body.close();
    bodies[0]?.close();
    assert.ok(hasRoomForZstd());
    bodies.length = 0;
    while (hasRoomForZstd()) bodies.push(beginBody('zstd'));
    assert.equal(bodies.length, 64);
    for (const body of bodies) body.close();
  });

  it('a gzip stream that is cut shows as incomplete', async () => {
    const body = beginBody('gzip');
    const wire = await body.add(await pieceOf('gzip', Buffer.from('text')));
    assert.throws(() => gunzipSync(wire), /unexpected end of file/);
    assert.equal(gunzipSync(wire, { finishFlush: constants.Z_SYNC_FLUSH }).toString(), 'text');
  });
});
