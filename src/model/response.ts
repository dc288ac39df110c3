import type { Reason } from './request.ts';

/** What came back from one fetch (one hop; redirects are requests of their own). */
export interface FetchedResponse {
  kind: 'response';
  status: number;
  /** Names in lower case; a name that came more than once holds the list. */
  headers: Record<string, string | string[] | undefined>;
  /** Decoded body. Shared memory, so that a parser thread reads it without a copy, and a killed thread loses nothing. */
  body: SharedArrayBuffer;
  /** Bytes of `body` in use. */
  bodyBytes: number;
  /** Bytes on the wire, body only. */
  wireBytes: number;
  /** Milliseconds from the start to the last byte, decoding included. */
  ms: number;
  /** Of these, from the request's sending to the end of the response's headers. Absent: unknown. */
  headersMs?: number;
  /** The body broke off, or was not encoded to its end: this is what came of it. Absent: it is whole. */
  truncated?: true;
  /** Absent: it came from the site. */
  cached?: {
    /** Milliseconds since the epoch. */
    storedAt: number;
    /** The site was asked, and said that it is unchanged (304). */
    revalidated: boolean;
  };
}

/** The value of a header, the first where it came more than once; undefined: it did not come. @param name in lower case */
export function headerOf(headers: FetchedResponse['headers'], name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** A fetch that brought no usable response. */
export interface FetchFailure {
  kind: 'failure';
  reason: Reason;
  /** For the ledger; never tells an address of the inside. */
  detail: string;
  status: number | null;
  wireBytes: number;
  ms: number;
}

export type FetchResult = FetchedResponse | FetchFailure;
