import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import {
  brotliCompressSync,
  constants,
  createZstdCompress,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib';
import { ByteSink } from '../../dist/downloader/body.js';
import { codingsOf, type DecodeLimits, decode } from '../../dist/downloader/decode.js';
import { Downloader } from '../../dist/downloader/downloader.js';
import { EgressGuard } from '../../dist/downloader/egress.js';
import type { FetchResult } from '../../dist/model/response.js';
import { startSite } from '../support/site.ts';

const PAGE = Buffer.from('<p>Grüße, ἄνδρα μοι ἔννεπε</p>'.repeat(3000));

async function decoded(bytes: Uint8Array, header: string | string[], limits: Partial<DecodeLimits> = {}) {
  const sink = new ByteSink(bytes.length);
  sink.append(bytes);
  const all = { maxBytes: 1_000_000, cut: false, keep: false, ...limits };
  const { body, isCut } = await decode(sink, codingsOf(header), all, new AbortController().signal);
  return { bytes: Buffer.from(body.bytes), isCut };
}

async function undo(bytes: Uint8Array, header: string | string[], maxBytes = 1_000_000, cut = false): Promise<Buffer> {
  return (await decoded(bytes, header, { maxBytes, cut })).bytes;
}

describe('decode', () => {
  const bodies: [string, string | string[], Buffer][] = [
    ['gzip', 'gzip', gzipSync(PAGE)],
    ['x-gzip in capitals', ' X-GZIP ', gzipSync(PAGE)],
    ['gzip in two members', 'gzip', Buffer.concat([gzipSync(PAGE.subarray(0, 500)), gzipSync(PAGE.subarray(500))])],
    ['gzip without its trailer', 'gzip', gzipSync(PAGE).subarray(0, -8)],
    ['a plain body labelled gzip', 'gzip', PAGE],
    ['deflate', 'deflate', deflateSync(PAGE)],
    ['raw deflate', 'deflate', deflateRawSync(PAGE)],
    ['br', 'br', brotliCompressSync(PAGE)],
    ['zstd', 'zstd', zstdCompressSync(PAGE)],
    ['identity', 'identity', PAGE],
    ['two codings', 'gzip, br', brotliCompressSync(gzipSync(PAGE))],
    ['two codings on two lines', ['deflate', 'zstd'], zstdCompressSync(deflateSync(PAGE))],
    ['gzip said twice and done once', 'gzip, gzip', gzipSync(PAGE)],
  ];
  for (const [name, header, bytes] of bodies)
    it(`5: ${name}`, async () => assert.ok((await undo(bytes, header)).equals(PAGE)));

  it('an empty body needs no decoding', async () => assert.equal((await undo(Buffer.alloc(0), 'br')).length, 0));

  it('5: bombs stop at the decoded limit, in each stage', async () => {
    const zeros = Buffer.alloc(20_000_000);
    const small = { reason: 'too_large' };
    await assert.rejects(
      undo(brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }), 'br'),
      small,
    );
    await assert.rejects(undo(gzipSync(zeros), 'gzip'), small);
    await assert.rejects(undo(zstdCompressSync(zeros), 'zstd'), small);
    await assert.rejects(undo(gzipSync(gzipSync(zeros)), 'gzip, gzip'), small);
    assert.equal((await undo(gzipSync(PAGE), 'gzip', PAGE.length)).length, PAGE.length, 'exactly the limit is kept');
    await assert.rejects(undo(gzipSync(PAGE), 'gzip', PAGE.length - 1), small);
  });

  it('5: damaged streams are bad_encoding', async () => {
    const bad = { reason: 'bad_encoding' };
    const damaged = gzipSync(PAGE);
    damaged.fill(0xff, 30, 60);
    await assert.rejects(undo(damaged, 'gzip'), bad);
    const wrongSum = gzipSync(PAGE);
    wrongSum[wrongSum.length - 8]! ^= 0xff;
    await assert.rejects(undo(wrongSum, 'gzip'), bad);
    await assert.rejects(undo(PAGE, 'br'), bad);
    await assert.rejects(undo(PAGE, 'zstd'), bad);
  });

  it('5: data that ends too early: gzip and deflate are kept and flagged, br and zstd only where asked', async () => {
    const random = Buffer.from(randomBytes(300_000).toString('hex'));
    const quickBrotli = (bytes: Buffer) =>
      brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } });
    const half = (bytes: Buffer) => bytes.subarray(0, bytes.length / 2);
    const kept: [string, Buffer, boolean][] = [
      ['gzip', gzipSync(random), false],
      ['deflate', deflateSync(random), false],
      ['deflate', deflateRawSync(random), false],
      ['br', quickBrotli(random), true],
      ['zstd', zstdCompressSync(random), true],
    ];
    for (const [coding, whole, keep] of kept) {
      const { bytes, isCut } = await decoded(half(whole), coding, { keep });
      assert.ok(isCut && bytes.length > 50_000, coding);
      assert.ok(bytes.equals(random.subarray(0, bytes.length)), coding);
      assert.equal((await decoded(whole, coding, { keep })).isCut, false, coding);
      if (keep) await assert.rejects(undo(half(whole), coding), { reason: 'truncated' });
    }
    const twice = await decoded(half(quickBrotli(gzipSync(random))), 'gzip, br', { keep: true });
    assert.ok(twice.isCut && twice.bytes.equals(random.subarray(0, twice.bytes.length)));
  });

  it('a zstd frame may not ask for a window over 8 MiB', async () => {
    const params = { [constants.ZSTD_c_windowLog]: 27, [constants.ZSTD_c_contentSizeFlag]: 0 };
    const stream = createZstdCompress({ params });
    stream.write(PAGE);
    stream.end();
    await assert.rejects(undo(Buffer.concat(await stream.toArray()), 'zstd'), { reason: 'bad_encoding' });
  });

  it('unknown codings and a third one are bad_encoding', () => {
    const bad = { reason: 'bad_encoding' };
    assert.throws(() => codingsOf('compress'), bad);
    assert.throws(() => codingsOf('constructor'), bad);
    assert.throws(() => codingsOf('gzip, gzip, gzip'), bad);
    assert.deepEqual(codingsOf(undefined), []);
    assert.deepEqual(codingsOf('gzip, identity'), ['gzip']);
  });

  it('cuts instead of failing where asked', async () => {
    assert.ok((await undo(gzipSync(PAGE), 'gzip', 1000, true)).equals(PAGE.subarray(0, 1000)));
    assert.ok((await undo(gzipSync(PAGE).subarray(0, 60), 'gzip', 1000, true)).length > 0);
  });
});

describe('Downloader and encodings', () => {
  async function fetchEncoded(
    status: number,
    coding: string,
    body: Buffer,
    maxBodyBytes = 1_000_000,
  ): Promise<FetchResult> {
    const site = await startSite((_req, res) => res.writeHead(status, { 'content-encoding': coding }).end(body));
    const downloader = new Downloader({ egress: new EgressGuard({ allow: ['127.0.0.0/8'] }) });
    const result = await downloader.fetch({
      url: site.url,
      headers: {},
      timeoutMs: 60_000,
      maxBodyBytes,
      verifyTls: true,
    });
    assert.equal(downloader.inFlight + downloader.bufferedBytes, 0);
    await downloader.close();
    await site.close();
    return result;
  }

  it('5: decodes pages and error pages', async () => {
    for (const status of [200, 404, 503]) {
      const encoded = gzipSync(PAGE);
      const result = await fetchEncoded(status, 'gzip', encoded);
      assert.equal(result.kind, 'response');
      if (result.kind !== 'response') return;
      assert.ok(Buffer.from(result.body, 0, result.bodyBytes).equals(PAGE));
      assert.equal(result.wireBytes, encoded.length);
    }
  });

  it('5: tells bombs and damage, with the status', async () => {
    const bomb = await fetchEncoded(200, 'gzip', gzipSync(Buffer.alloc(5_000_000)));
    assert.deepEqual(bomb.kind === 'failure' && [bomb.reason, bomb.status], ['too_large', 200]);
    const damaged = await fetchEncoded(200, 'br', PAGE);
    assert.equal(damaged.kind === 'failure' && damaged.reason, 'bad_encoding');
    const unknown = await fetchEncoded(200, 'pack200', PAGE);
    assert.equal(unknown.kind === 'failure' && unknown.reason, 'bad_encoding');
  });
});
