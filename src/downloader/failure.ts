import type { Reason } from '../model/request.ts';

/** Why a fetch brought no response. `message` is shown to users: it never holds an address or a name of the inside. */
export class FetchError extends Error {
  readonly reason: Reason;

  constructor(reason: Reason, detail: string) {
    super(detail);
    this.reason = reason;
  }
}

const DROPPED = new Set([
  'UND_ERR_SOCKET',
  'ECONNRESET',
  'EPIPE',
  'ECONNABORTED',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);
/** The stable code of an error, or an empty text. */
export function codeOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? code : '';
}

/** undici 8.12 leaves a parser error's code empty: the end of the stream is told by its text. */
function isIncomplete(error: Error, code: string): boolean {
  return code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH' || error.message.includes('Invalid EOF state');
}

/**
 * Gives an error of the transport its reason.
 *
 * @param error what undici reported for an exchange; connection errors arrive as FetchError from the egress guard
 * @param hasHeaders the final response's headers had arrived
 */
export function classify(error: Error, hasHeaders: boolean): FetchError {
  if (error instanceof FetchError) return error;
  const code = codeOf(error);
  if (isIncomplete(error, code)) {
    return hasHeaders
      ? new FetchError('truncated', 'the body ended before it was complete')
      : new FetchError('bad_response', 'malformed HTTP (contradicting lengths)');
  }
  // undici uses one code for a closed socket and for an answer that makes no sense here (an unasked 100 or 101)
  if (error.message.startsWith('bad ')) return new FetchError('bad_response', `unexpected response (${error.message})`);
  if (DROPPED.has(code)) {
    return hasHeaders
      ? new FetchError('truncated', 'the connection was dropped inside the body')
      : new FetchError('reset', 'the connection was dropped before the response headers');
  }
  if (code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED')
    return new FetchError('reset', 'the downloader was closed');
  if (code === 'UND_ERR_HEADERS_OVERFLOW') return new FetchError('bad_response', 'the response headers are too large');
  if (code === 'UND_ERR_INVALID_ARG') return new FetchError('bad_url', `the request cannot be sent: ${error.message}`);
  if (error.name === 'HTTPParserError') return new FetchError('bad_response', 'malformed HTTP');
  if (code === 'EPROTO' || code.startsWith('ERR_SSL')) return new FetchError('tls', `TLS failed (${code})`);
  return new FetchError('bad_response', `the exchange failed (${code || error.name})`);
}
