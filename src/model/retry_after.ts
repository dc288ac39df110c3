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
