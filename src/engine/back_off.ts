import type { HostSlot } from '../frontier/host.ts';

const MAX_LEVEL = 8;

/**
 * What a host's answer means for its next fetch. 429 and 503 (and another 5xx with Retry-After) stop the host alone, for
 * Retry-After or for a time that doubles with each such answer in a row; a burst of them that was under way together counts
 * once. An answer to a request that was sent after it, and that is no server error, forgives one level.
 *
 * @param startedAt when the request was sent
 * @param retryAfter of the answer, in milliseconds; null or 0: none that helps
 * @param maxMs longest wait
 * @returns milliseconds to wait from now; 0: none
 */
export function backOff(
  host: Pick<HostSlot, 'backoffLevel' | 'backedOffAt'>,
  status: number,
  startedAt: number,
  now: number,
  retryAfter: number | null,
  maxMs: number,
): number {
  const isBusy = status === 429 || status === 503 || (status >= 500 && retryAfter !== null);
  const together = startedAt < host.backedOffAt;
  if (!isBusy) {
    if (status < 500 && !together && host.backoffLevel > 0) host.backoffLevel--;
    return 0;
  }
  if (!together) {
    host.backoffLevel = Math.min(MAX_LEVEL, host.backoffLevel + 1);
    host.backedOffAt = now;
  }
  if (retryAfter !== null && retryAfter > 0) return Math.min(maxMs, retryAfter);
  return together ? 0 : Math.min(maxMs, 500 * 2 ** host.backoffLevel * (0.75 + Math.random() / 2));
}
