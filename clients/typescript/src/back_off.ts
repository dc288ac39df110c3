import { OrbweaverError } from './errors.ts';

const FIRST_MS = 200;
const LONGEST_MS = 10_000;

/** What a series of tries may take. */
export interface RetryOptions {
  /** How long the service may be away before the last error is thrown, in milliseconds. Default: ten minutes. */
  retryForMs?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Told of each failure that is waited out. */
  onRetry?: ((error: OrbweaverError) => void) | undefined;
}

const RETRY_FOR_MS = 600_000;

/** Waits between tries, longer from failure to failure, with jitter: a thousand clients that were cut off at once do not come back at once. */
export class BackOff {
  readonly #options: RetryOptions;
  #tries = 0;
  #failingSince = 0;

  constructor(options: RetryOptions) {
    this.#options = options;
  }

  /** The service has answered. */
  succeeded(): void {
    this.#tries = 0;
  }

  /** @throws the error itself where it will not pass, or has lasted too long; the signal's reason */
  async failed(error: unknown): Promise<void> {
    const { retryForMs = RETRY_FOR_MS, signal, onRetry } = this.#options;
    signal?.throwIfAborted();
    if (!(error instanceof OrbweaverError) || !error.isPassing) throw error;
    if (this.#tries === 0) this.#failingSince = Date.now();
    const least = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#tries++);
    const ms = Math.max(error.retryAfterMs ?? 0, least * (0.5 + Math.random() / 2));
    if (Date.now() + ms - this.#failingSince > retryForMs) throw error;
    onRetry?.(error);
    await pause(ms, signal);
  }
}

/** Calls until it comes to something. @param isFinal errors that are thrown at once. @throws as `BackOff.failed` */
export async function withRetries<T>(
  call: () => Promise<T>,
  options: RetryOptions,
  isFinal: (error: unknown) => boolean = () => false,
): Promise<T> {
  const backOff = new BackOff(options);
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (isFinal(error)) throw error;
      await backOff.failed(error);
    }
  }
}

/** @throws the signal's reason, at once */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
  });
}
