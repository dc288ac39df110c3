import type { Body } from './body.ts';
import { GzipBody, gzipPiece } from './gzip.ts';
import { ZstdBody } from './zstd.ts';

export const CODINGS = ['gzip', 'zstd', 'identity'] as const;
/** Content codings that answers may have. */
export type Coding = (typeof CODINGS)[number];

/** What a reader's body takes as a piece of these bytes; the same for all readers of a coding. */
export function pieceOf(coding: Coding, bytes: Uint8Array): Uint8Array | Promise<Uint8Array> {
  return coding === 'gzip' && bytes.length > 0 ? gzipPiece(bytes) : bytes;
}

/** Begins a body. Close it when done. */
export function beginBody(coding: Coding): Body {
  switch (coding) {
    case 'gzip':
      return new GzipBody();
    case 'zstd':
      return new ZstdBody();
    case 'identity':
      return { add: (piece) => piece, end: () => new Uint8Array(0), close: () => {} };
  }
}
