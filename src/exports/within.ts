import { ExportError } from './target.ts';

/**
 * The work's result, unless the time is over or the signal fires first; what it comes to then is nobody's business.
 *
 * @throws ExportError `timeout`
 */
export async function within<T>(work: Promise<T>, timeoutMs: number, signal: AbortSignal): Promise<T> {
  const { promise: over, reject } = Promise.withResolvers<never>();
  const giveUp = () => reject(new ExportError('timeout', 'no answer in time'));
  const timer = setTimeout(giveUp, timeoutMs);
  if (signal.aborted) giveUp();
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    return await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', giveUp);
  }
}
