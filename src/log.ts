import { setTimeout as sleep } from 'node:timers/promises';
import { destination, type Logger, pino } from 'pino';

/** What waits for a slow reader of the log; lines beyond it are dropped, and counted. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;
/** A reader that has taken nothing for so long is not waited for at the end of the process. */
const STUCK_MS = 1000;

export interface Log {
  log: Logger;
  /** Resolves when all is written, or the reader is stuck: the last step before the end of the process. */
  written: () => Promise<void>;
}

/** The service's log on stdout: for people on a terminal, else a JSON object a line. */
export function openLog(level: string): Log {
  const options = { level, base: null };
  if (process.stdout.isTTY) {
    const transport = { target: 'pino-pretty', options: { ignore: 'pid,hostname' } };
    return { log: pino({ ...options, transport }), written: async () => {} };
  }
  const stdout = destination({ dest: 1, sync: false, maxLength: MAX_WAITING_BYTES });
  /** Since when nothing of what waits has been taken; null: nothing waits. */
  let since: number | null = null;
  let dropped = 0;
  const log = pino(options, {
    write(line: string) {
      since ??= performance.now();
      stdout.write(line);
    },
  });
  stdout.on('drop', () => dropped++);
  stdout.on('write', () => {
    since = performance.now();
  });
  stdout.on('drain', () => {
    since = null;
    if (dropped > 0) log.warn({ lines: dropped }, 'lines are missing here: nobody read the log in time');
    dropped = 0;
  });
  // Before pino's own: that writes what waits beside what is being written, so in another order, and tries for ever.
  process.prependListener('exit', () => stdout.destroy());
  return {
    log,
    async written() {
      while (since !== null && performance.now() - since < STUCK_MS) await sleep(5);
    },
  };
}
