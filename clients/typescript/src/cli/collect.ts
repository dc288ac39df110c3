import { withRetries } from '../back_off.ts';
import type { ItemOptions, Orbweaver, OrbweaverError } from '../client.ts';
import { type Args, UsageError } from './command.ts';
import { type Format, formatOf, openSink, parameterOf, type Sink } from './output.ts';
import type { Progress } from './progress.ts';

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
  type: { value: 'TYPE', help: 'only items of this type' },
  fields: { value: 'A,B', help: 'only these fields of the data' },
  flatten: { help: 'objects inside the data become fields as specs.weight' },
} as const;

/** What of the items is wanted. @param say told of the service's absence */
export function wantedItems(args: Args, say = (line: string) => args.note(line)): ItemOptions {
  const fields = args.text('fields')?.split(',');
  return { type: args.text('type'), fields, flatten: args.flag('flatten'), onRetry: outages(say) };
}

export async function openDestination(args: Args): Promise<Destination> {
  const file = args.text('output');
  const format = formatOf(file, args.text('format'));
  const sink = await openSink(file);
  if (format === 'parquet' && sink.isStdout && process.stdout.isTTY)
    throw new UsageError('Parquet is not for a terminal: give -o FILE');
  return { format, sink };
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
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const { event, data } of client.followEvents(id, { signal }))
      if (event === 'progress') progress.show(data);
  } catch {
    // The items tell whether the service is there.
  } finally {
    progress.stop();
  }
}

/** Says of an absence of the service that it is away, now and then. */
function outages(say: (line: string) => void): (error: OrbweaverError) => void {
  let saidAt = 0;
  return (error) => {
    if (Date.now() - saidAt > 15_000 && error.code !== 'cut_off') {
      say(`orbweaver: the service is away (${error.message}); it is waited for`);
      saidAt = Date.now();
    }
  };
}
