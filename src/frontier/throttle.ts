import type { Autothrottle, Settings } from '../model/settings.ts';

const DEFAULTS: Autothrottle = { targetConcurrency: 1, startDelayMs: 1000, maxDelayMs: 60_000 };

/** The delay of a crawl with autothrottle. @param throttleMs what the host has come to; null: nothing yet */
export function throttledDelay(throttleMs: number | null, settings: NonNullable<Settings['autothrottle']>): number {
  const { startDelayMs, maxDelayMs } = { ...DEFAULTS, ...settings };
  return Math.min(throttleMs ?? startDelayMs, maxDelayMs);
}

/**
 * Scrapy's rule: with a delay of latency / target a host feels `targetConcurrency` requests at once. It rises to that at once,
 * and sinks half of the way with each answer, so that one quick answer does not undo what slow ones taught. What is no
 * success never lowers it: errors are quick.
 *
 * @param latencyMs from the request to the headers; of a fetch that failed, as long as it was tried
 * @returns the host's delay from now on
 */
export function nextThrottle(
  throttleMs: number | null,
  { autothrottle, delayMs }: Pick<Settings, 'autothrottle' | 'delayMs'>,
  latencyMs: number,
  isSuccess: boolean,
): number | null {
  if (autothrottle === null) return throttleMs;
  const { targetConcurrency, maxDelayMs } = { ...DEFAULTS, ...autothrottle };
  const now = throttledDelay(throttleMs, autothrottle);
  const target = latencyMs / targetConcurrency;
  const next = Math.min(Math.max(target, (now + target) / 2, delayMs), maxDelayMs);
  return isSuccess || next > now ? next : throttleMs;
}
