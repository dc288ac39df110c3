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

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const TIME = '(\\d\\d):(\\d\\d):(\\d\\d)';
/** The three forms of RFC 9110, 5.6.7: IMF-fixdate, RFC 850, asctime. Names of days are not checked. */
const IMF = new RegExp(`^[a-z]{3}, +(\\d{1,2}) ([a-z]{3}) (\\d{4}) ${TIME} (?:GMT|UTC)$`, 'i');
const RFC_850 = new RegExp(`^[a-z]{6,9}, (\\d\\d)-([a-z]{3})-(\\d\\d) ${TIME} (?:GMT|UTC)$`, 'i');
const ASCTIME = new RegExp(`^[a-z]{3} ([a-z]{3}) +(\\d{1,2}) ${TIME} (\\d{4})$`, 'i');

/**
 * Retry-After (RFC 9110, 10.2.3) in milliseconds from now: seconds or an HTTP date, 0 where that is past; null where it is
 * neither.
 *
 * @param now milliseconds since the epoch
 */
export function retryAfterMs(header: string | string[] | undefined, now: number): number | null {
  const text = (Array.isArray(header) ? header[0] : header)?.trim();
  if (!text) return null;
  if (/^\d+$/.test(text)) return Number(text.slice(0, 10)) * 1000;
  const date = httpDate(text, now);
  return date === null ? null : Math.max(0, date - now);
}

function httpDate(text: string, now: number): number | null {
  const imf = IMF.exec(text);
  if (imf !== null) return dateOf(imf[3]!, imf[2]!, imf[1]!, imf.slice(4));
  const asctime = ASCTIME.exec(text);
  if (asctime !== null) return dateOf(asctime[6]!, asctime[1]!, asctime[2]!, asctime.slice(3, 6));
  const rfc850 = RFC_850.exec(text);
  if (rfc850 === null) return null;
  // Two digits that seem to be over fifty years ahead are of the century before.
  const thisYear = new Date(now).getUTCFullYear();
  const year = Math.floor(thisYear / 100) * 100 + Number(rfc850[3]);
  return dateOf(String(year > thisYear + 50 ? year - 100 : year), rfc850[2]!, rfc850[1]!, rfc850.slice(4));
}

function dateOf(year: string, month: string, day: string, time: readonly string[]): number | null {
  const at = MONTHS.indexOf(month.toLowerCase());
  const [hours, minutes, seconds] = time.map(Number) as [number, number, number];
  if (at < 0 || Number(day) > 31 || hours > 23 || minutes > 59 || seconds > 60) return null;
  return Date.UTC(Number(year), at, Number(day), hours, minutes, seconds);
}
