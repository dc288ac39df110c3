import type { DeliveryChange, DeliveryRow } from '../db/deliveries.ts';
import type { Sent } from '../model/delivery.ts';
import { retryAfterMs } from '../model/retry_after.ts';
import { ExportError } from './target.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
/** After the first failure in a row, the second, and so on; the last one over and over. */
const DELAYS = [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR];
/** Of each delay, up or down, so that the messages that an outage held up do not all come back at once. */
const JITTER = 0.2;
/** A longer Retry-After counts as this. */
const MAX_RETRY_AFTER = 4 * HOUR;
/** After so long a message is given up, its last try being made at the end of it. */
const TRIED_FOR = 24 * HOUR;

/** Statuses below 500 that say nothing of the message: Request Timeout, Too Early, Too Many Requests. */
const PASSING = new Set([408, 425, 429]);

/** What follows from a try that was not answered with 2xx. */
export interface Verdict {
  change: DeliveryChange;
  /** Null: the next message is due. */
  error: ExportError | null;
}

/** True where the endpoint has the message. */
export function isTaken({ response }: Sent): boolean {
  return response !== null && response.status >= 200 && response.status < 300;
}

/** True where the endpoint was reached, and would not have this very message. */
function isRefusal({ response }: Sent): boolean {
  return response !== null && response.status >= 400 && response.status < 500 && !PASSING.has(response.status);
}

/** Why a try failed, for the webhook's `lastError`. */
function faultOf({ response, error }: Sent): { code: string; message: string } {
  if (response !== null) return { code: 'refused', message: `the endpoint answered with status ${response.status}` };
  const { code, message } = error!;
  const known: Record<string, string> = { timeout: 'timeout', egress: 'refused', scheme: 'refused' };
  return { code: known[code] ?? 'connect', message: `${code}: ${message}` };
}

/**
 * When a message is tried again, if it is. A day after its first failure it is given up: alone, where the endpoint took
 * others meanwhile, or took the one before and refuses this one (4xx); else the webhook ends as failed, its message kept for when it
 * is resumed.
 *
 * @param taken asked at the end of the day alone: whether the endpoint took the message before, and any other since a time
 * @param now milliseconds since the epoch
 * @param random from 0 to below 1
 */
export async function judge(
  { failures, failing_since }: Pick<DeliveryRow, 'failures' | 'failing_since'>,
  sent: Sent,
  taken: (since: number) => Promise<{ before: boolean; since: boolean }>,
  { now, random }: { now: number; random: number },
): Promise<Verdict> {
  const { code, message } = faultOf(sent);
  const kept: DeliveryChange = { state: 'pending', failures: 0, failingSince: null, nextAt: null };
  if (sent.response?.status === 410) {
    const gone = 'the endpoint answered with status 410: it wants no more; resume the webhook to try again';
    return { change: kept, error: new ExportError('gone', gone, { permanent: true }) };
  }
  const since = failing_since?.getTime() ?? now;
  if (now < since + TRIED_FOR) {
    const delay = DELAYS[Math.min(failures, DELAYS.length - 1)]! * (1 - JITTER + 2 * JITTER * random);
    const asked = Math.min(MAX_RETRY_AFTER, retryAfterMs(sent.response?.headers['retry-after'], now) ?? 0);
    const nextAt = Math.min(since + TRIED_FOR, Math.round(now + Math.max(delay, asked)));
    const change: DeliveryChange = { state: 'pending', failures: failures + 1, failingSince: since, nextAt };
    return { change, error: new ExportError(code, message, { retryAt: nextAt }) };
  }
  const { before, since: others } = await taken(since);
  if (others || (before && isRefusal(sent)))
    return { change: { state: 'failed', failures: failures + 1, failingSince: since, nextAt: null }, error: null };
  const over = `${message}; nothing was delivered for a day: resume the webhook to go on`;
  return { change: kept, error: new ExportError(code, over, { permanent: true }) };
}
