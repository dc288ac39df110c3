import type { Measurement } from './contenders.ts';

/** The middle value; the mean of the two middle ones; NaN of none. */
export function median(values: number[]): number {
  return quantile(values, 0.5);
}

/** @param q 0 … 1; between two values it is interpolated */
export function quantile(values: number[], q: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)]!;
  return low + (sorted[Math.ceil(at)]! - low) * (at % 1);
}

/** What is shown of one contender: medians over its runs. */
export interface Summary {
  name: string;
  runs: number;
  pagesPerSecond: number;
  slowest: number;
  fastest: number;
  /** Service / contender, the median over the pairs of runs; null without the service. */
  ratio: number | null;
  target: number | null;
  /** The highest of all runs. */
  peakMb: number;
  loopDelayP99Ms: number | null;
  commitToStreamMs: number | null;
  walBytesPerPage: number | null;
  rowsPerPage: number | null;
  commitsPerPage: number | null;
}

const speed = (run: Measurement) => run.pages / run.seconds;

function medianOf(runs: Measurement[], pick: (run: Measurement) => number | null | undefined): number | null {
  const values = runs.map(pick).filter((value) => value !== null && value !== undefined);
  return values.length === 0 ? null : median(values);
}

/** @param service the service's runs, in the same order; empty where it did not take part */
export function summarize(name: string, target: number | null, runs: Measurement[], service: Measurement[]): Summary {
  const ratios = service.map((run, i) => speed(run) / speed(runs[i]!));
  return {
    name,
    runs: runs.length,
    pagesPerSecond: median(runs.map(speed)),
    slowest: Math.min(...runs.map(speed)),
    fastest: Math.max(...runs.map(speed)),
    ratio: ratios.length === 0 || name === 'service' ? null : median(ratios),
    target,
    peakMb: Math.max(...runs.map((run) => run.peakMb)),
    loopDelayP99Ms: medianOf(runs, (run) => run.loopDelayP99Ms),
    commitToStreamMs: medianOf(runs, (run) => run.commitToStreamMs),
    walBytesPerPage: medianOf(runs, (run) => run.written?.walBytes),
    rowsPerPage: medianOf(runs, (run) => run.written?.rows),
    commitsPerPage: medianOf(runs, (run) => run.written?.commits),
  };
}

const shown = (value: number | null, digits = 0) => (value === null ? '–' : value.toFixed(digits));

/** One line a contender. */
export function printTable(summaries: Summary[]): void {
  console.table(
    Object.fromEntries(
      summaries.map((s) => [
        s.name,
        {
          'pages/s': shown(s.pagesPerSecond),
          'min–max': `${shown(s.slowest)}–${shown(s.fastest)}`,
          'service is': s.ratio === null ? '–' : `${s.ratio.toFixed(2)}×`,
          target: s.target === null ? '–' : `≥ ${s.target}×`,
          'peak MiB': shown(s.peakMb),
          'loop p99 ms': shown(s.loopDelayP99Ms, 1),
          'WAL B/page': shown(s.walBytesPerPage),
          'rows/page': shown(s.rowsPerPage, 2),
          'commits/page': shown(s.commitsPerPage, 3),
        },
      ]),
    ),
  );
}

/** The service's own targets, each with what was measured. */
export function printTargets(service: Summary): void {
  const line = (what: string, value: number | null, limit: number) => {
    const verdict = value === null ? 'not measured' : value <= limit ? 'met' : 'MISSED';
    console.log(`${what}: ${shown(value, 1)} (target ≤ ${limit}): ${verdict}`);
  };
  line('service, event-loop delay p99, ms', service.loopDelayP99Ms, 20);
  line('service, commit to open stream, median, ms', service.commitToStreamMs, 50);
  line('service, peak memory of the node process, MiB', service.peakMb, 250);
}
