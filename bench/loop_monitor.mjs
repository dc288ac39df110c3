/**
 * Loaded into the service's process by `node --import`, so that its event-loop delay is measured as the peers' is: over
 * the measured crawl alone. SIGUSR2 begins anew, and prints `{"loopDelayP99Ms": …}` of what came before.
 *
 * JavaScript, since every thread loads it: for a file of TypeScript Node loads a compiler of its own in WebAssembly, which was
 * 30 MiB before the first page and 68 at most.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

/** The monitor's timer fires this often and reports the whole interval; what is beyond it is the delay. */
const RESOLUTION_MS = 10;

if (isMainThread) {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  process.on('SIGUSR2', () => {
    console.log(JSON.stringify({ loopDelayP99Ms: delay.percentile(99) / 1e6 - RESOLUTION_MS }));
    delay.reset();
  });
}
