import type { Outgoing, Send, Sent } from '../model/delivery.ts';
import { type FetchedResponse, headerOf } from '../model/response.ts';
import { HIDDEN, isSecretHeader } from '../model/secrets.ts';
import type { Downloader } from './downloader.ts';

/** Of an answer, so much is read, and so much is kept. */
const MAX_READ_BYTES = 64 * 1024;
const MAX_KEPT_BYTES = 4 * 1024;
const MAX_HEADERS = 50;
const MAX_HEADER_LENGTH = 1000;

/** Sends webhooks' messages through a downloader: its egress guard judges the address, and no redirect is followed. */
export function senderOf(downloader: Pick<Downloader, 'fetch'>): Send {
  return async (message, signal) => {
    const startedAt = performance.now();
    let connectMs: number | null = null;
    const result = await downloader.fetch(
      {
        url: message.url,
        method: 'POST',
        headers: message.headers,
        body: message.body,
        timeoutMs: message.timeoutMs,
        connectTimeoutMs: connectTimeout(message),
        maxBodyBytes: MAX_READ_BYTES,
        cutAtCap: true,
        truncated: 'keep',
        verifyTls: true,
        onSent: () => {
          connectMs ??= Math.round(performance.now() - startedAt);
        },
      },
      signal,
    );
    if (result.kind === 'response')
      return {
        response: responseOf(result),
        error: null,
        timing: { connectMs, firstByteMs: result.headersMs ?? null, totalMs: result.ms },
      };
    const { status, reason, detail } = result;
    // The status counts, whatever became of the body: who said 200 has the message.
    const response: Sent['response'] = status === null ? null : { status, headers: {}, body: '', cut: true };
    const timing = { connectMs, firstByteMs: null, totalMs: result.ms };
    return { response, error: { code: reason, message: detail }, timing };
  };
}

/** Connections are kept by the limit that they were opened with: one for all messages, unless theirs is shorter. */
function connectTimeout({ timeoutMs }: Outgoing): number {
  return Math.min(10_000, timeoutMs);
}

function responseOf({ status, headers, body, bodyBytes, truncated }: FetchedResponse): NonNullable<Sent['response']> {
  const kept = Math.min(bodyBytes, MAX_KEPT_BYTES);
  // A copy: TextDecoder takes no shared memory. A character that the cut goes through becomes U+FFFD.
  const text = Buffer.from(new Uint8Array(body, 0, kept)).toString('utf8');
  return { status, headers: shownHeaders(headers), body: text, cut: kept < bodyBytes || truncated === true };
}

function shownHeaders(headers: FetchedResponse['headers']): Record<string, string> {
  const names = Object.keys(headers).slice(0, MAX_HEADERS);
  return Object.fromEntries(
    names.map((name) => {
      const value = headerOf(headers, name) ?? '';
      return [name, isSecretHeader(name) ? HIDDEN : value.slice(0, MAX_HEADER_LENGTH)];
    }),
  );
}
