import cliProgress from 'cli-progress';
import type { Stats } from '../client.ts';

const LINE_EVERY_MS = 5000;
const FORMAT = '{bar} {value} of {total} pages | {items} items | {rate} pages/s | {failed} failed | {state}';

type Figures = Pick<Stats, 'state' | 'counts' | 'pagesPerSecond'>;

/** How far a crawl is: a bar on a terminal, else a line now and then. */
export interface Progress {
  show(figures: Figures): void;
  stop(): void;
}

const SILENT: Progress = { show: () => {}, stop: () => {} };

/** @param isQuiet nothing is shown */
export function openProgress(isQuiet: boolean): Progress {
  if (isQuiet) return SILENT;
  if (!process.stderr.isTTY) return new Lines();
  // One screen cannot hold both.
  return process.stdout.isTTY ? new Lines() : new Bar();
}

/** Done of what is known; more becomes known while it is crawled. */
class Bar implements Progress {
  readonly #bar = new cliProgress.SingleBar(
    // Its own handler of SIGINT would stand beside ours.
    {
      stream: process.stderr,
      format: FORMAT,
      barsize: 24,
      hideCursor: true,
      clearOnComplete: true,
      gracefulExit: false,
    },
    cliProgress.Presets.shades_classic,
  );
  #isStarted = false;
  readonly #stop = () => this.#bar.stop();

  show({ state, counts, pagesPerSecond }: Figures): void {
    const { done, failed, queued, inProgress, items } = counts;
    const payload = { items, failed, state, rate: pagesPerSecond };
    const total = done + failed + queued + inProgress;
    if (!this.#isStarted) this.#bar.start(total, done, payload);
    if (!this.#isStarted) process.once('exit', this.#stop); // the cursor comes back
    this.#isStarted = true;
    this.#bar.setTotal(total);
    this.#bar.update(done, payload);
  }

  stop(): void {
    if (this.#isStarted) this.#bar.stop();
    process.off('exit', this.#stop);
  }
}

class Lines implements Progress {
  #shownAt = Date.now();

  show({ state, counts, pagesPerSecond }: Figures): void {
    if (Date.now() - this.#shownAt < LINE_EVERY_MS) return;
    this.#shownAt = Date.now();
    const { done, queued, failed, items } = counts;
    const figures = [
      `${done} pages`,
      `${queued} queued`,
      `${items} items`,
      `${pagesPerSecond} pages/s`,
      `${failed} failed`,
    ];
    process.stderr.write(`${state}: ${figures.join(', ')}\n`);
  }

  stop(): void {}
}
