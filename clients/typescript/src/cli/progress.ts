import cliProgress from 'cli-progress';
import type { Stats } from '../client.ts';
import { say } from './terminal.ts';

const LINE_EVERY_MS = 5000;
const FORMAT = '{bar} {value} of {total} pages | {items} items | {rate} pages/s | {failed} failed | {state}';

type Figures = Pick<Stats, 'state' | 'counts' | 'pagesPerSecond'>;

/** How far a crawl is: a bar on a terminal, else a line now and then. */
export interface Progress {
  show(figures: Figures): void;
  /** A line beside it. */
  note(line: string): void;
  stop(): void;
}

const SILENT: Progress = { show: () => {}, note: () => {}, stop: () => {} };

/** @param isQuiet nothing is shown. @param toStdout items go there */
export function openProgress(isQuiet: boolean, toStdout: boolean): Progress {
  if (isQuiet) return SILENT;
  // One screen cannot hold both items and a bar.
  return process.stderr.isTTY && !(toStdout && process.stdout.isTTY) ? new Bar() : new Lines();
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
  #isShown = false;
  readonly #hide = () => this.stop();

  show({ state, counts, pagesPerSecond }: Figures): void {
    const { done, failed, queued, inProgress, items } = counts;
    const payload = { items, failed, state, rate: pagesPerSecond };
    const total = done + failed + queued + inProgress;
    if (this.#isShown) {
      this.#bar.setTotal(total);
      this.#bar.update(done, payload);
      return;
    }
    this.#isShown = true;
    process.once('exit', this.#hide); // the cursor comes back
    this.#bar.start(total, done, payload);
  }

  note(line: string): void {
    this.stop(); // it comes back below with the next figures
    say(process.stderr, line);
  }

  stop(): void {
    if (this.#isShown) this.#bar.stop();
    this.#isShown = false;
    process.off('exit', this.#hide);
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
    this.note(`${state}: ${figures.join(', ')}`);
  }

  note(line: string): void {
    say(process.stderr, line);
  }

  stop(): void {}
}
