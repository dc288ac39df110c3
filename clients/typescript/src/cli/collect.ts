import { withRetries } from '../back_off.ts';
import type { ItemOptions, Orbweaver, OrbweaverError } from '../client.ts';
import { type Args, UsageError } from './command.ts';
import { type Format, formatOf, openSink, parameterOf, type Sink } from './output.ts';
import { openProgress } from './progress.ts';

/** Where items go, and as what. */
export interface Destination {
  format: Format;
  sink: Sink;
}

export const OUTPUT_OPTIONS = {
  output: {
    value: 'FILE',
    short: 'o',
    help: 'where the items go: .ndjson, .csv, .json, .parquet; - or nothing: stdout. It gets its name when it is whole',
  },
  format: { value: 'FORMAT', help: 'ndjson, csv, json, parquet; else by the ending of FILE; ndjson on stdout' },
} as const;

export async function openDestination(args: Args): Promise<Destination> {
  const file = args.text('output');
  const format = formatOf(file, args.text('format'));
  if (format === 'parquet' && (file === undefined || file === '-') && process.stdout.isTTY)
    throw new UsageError('Parquet is not for a terminal: give -o FILE');
  return { format, sink: await openSink(file) };
}

/**
 * Writes the items of a crawl until it has ended. NDJSON comes while the crawl runs and goes on after a cut; the others are
 * fetched at the end, when all columns are known, and again from their beginning after a cut.
 */
export async function collect(
  client: Orbweaver,
  id: string,
  { format, sink }: Destination,
  options: ItemOptions,
): Promise<void> {
  if (format === 'ndjson')
    for await (const { json } of client.streamItemTexts(id, options)) await sink.write(`${json}\n`);
  else {
    if (options.follow !== false) await client.waitFor(id, options);
    const parameter = parameterOf(format);
    const fetchAll = async () => {
      await sink.restart();
      for await (const piece of client.download(id, parameter, { ...options, follow: false })) await sink.write(piece);
    };
    await withRetries(fetchAll, options, () => !sink.canRestart);
  }
  await sink.finish();
}

/** Shows how far the crawl is until the signal fires. What goes wrong with that is nobody's business. */
export async function showProgress(
  client: Orbweaver,
  id: string,
  isQuiet: boolean,
  signal: AbortSignal,
): Promise<void> {
  const progress = openProgress(isQuiet);
  try {
    for await (const { event, data } of client.followEvents(id, { signal }))
      if (event === 'progress') progress.show(data);
  } catch {
    // The items tell whether the service is there.
  } finally {
    progress.stop();
  }
}

/** Says once of each absence that the service is away. */
export function outages(args: Args): (error: OrbweaverError) => void {
  let saidAt = 0;
  return (error) => {
    if (Date.now() - saidAt > 15_000 && error.code !== 'cut_off') {
      args.note(`orbweaver: the service is away (${error.message}); it is waited for`);
      saidAt = Date.now();
    }
  };
}
