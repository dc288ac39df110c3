import type { Frontier } from '../frontier/frontier.ts';
import type { Caller, HostSlot } from '../frontier/host.ts';
import { nextThrottle } from '../frontier/throttle.ts';
import type { FetchResult } from '../model/response.ts';
import { retryAfterMs } from '../model/retry_after.ts';
import type { Settings } from '../model/settings.ts';
import { backOff } from './back_off.ts';

type HeedSettings = Pick<Settings, 'autothrottle' | 'delayMs' | 'maxRetryAfterMs'>;

/** What the answers of hosts mean for their next fetches: of pages, calls and robots.txt alike. */
export class Manners {
  readonly #frontier: Frontier;
  readonly #onOpen: () => void;

  /** @param onOpen a slot is free, or a host has come to wait: `scheduler.next` is due */
  constructor(frontier: Frontier, onOpen: () => void) {
    this.#frontier = frontier;
    this.#onOpen = onOpen;
  }

  /**
   * Makes a call whose turn at the host has come (`loans.turn`), and heeds what the host answers.
   *
   * @param send tells when the request goes out
   */
  async call(host: HostSlot, caller: Caller, send: (onSent: () => void) => Promise<FetchResult>): Promise<FetchResult> {
    const { scheduler } = this.#frontier;
    const startedAt = Date.now();
    let isSent = false;
    const onSent = () => {
      if (!isSent && scheduler.sent(host, Date.now())) this.#onOpen();
      isSent = true;
    };
    try {
      const result = await send(onSent);
      this.heed(host, caller.settings, result, startedAt, Date.now());
      return result;
    } finally {
      onSent();
      scheduler.callEnded(host, caller, Date.now());
      this.#onOpen();
    }
  }

  /**
   * Heeds the result of a fetch: Retry-After and back-off by the status, autothrottle by the latency.
   *
   * @param settings of whoever fetched
   * @param startedAt when it was begun, in milliseconds since the epoch
   * @returns milliseconds for which the host is left alone from now on; 0: no longer than ever
   */
  heed(host: HostSlot, settings: HeedSettings, result: FetchResult, startedAt: number, now: number): number {
    // A stored response says nothing of how the site is now.
    if (result.kind === 'response' && result.cached?.revalidated === false) return 0;
    if (settings.autothrottle !== null) this.#throttle(host, settings, result);
    if (result.kind === 'failure') return 0;
    const level = host.backoffLevel;
    const retryAfter = retryAfterMs(result.headers['retry-after'], now);
    const waitMs = backOff(host, result.status, startedAt, now, retryAfter, settings.maxRetryAfterMs);
    if (waitMs > 0) this.#frontier.leaveAlone(host, now, waitMs);
    else if (level > 0 && host.backoffLevel === 0) this.#frontier.memory.note(host);
    return waitMs;
  }

  /** How long a failure took says something only where the host let us wait. */
  #throttle(host: HostSlot, settings: HeedSettings, result: FetchResult): void {
    const isSuccess = result.kind === 'response' && result.status >= 200 && result.status < 300;
    const latencyMs = result.kind === 'response' ? (result.headersMs ?? result.ms) : result.ms;
    host.throttleMs = nextThrottle(host.throttleMs, settings, latencyMs, isSuccess);
    this.#frontier.memory.noteThrottle(host);
  }
}
