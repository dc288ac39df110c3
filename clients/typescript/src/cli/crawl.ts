import { type Crawl, type Orbweaver, OrbweaverError, type StartCrawl } from '../client.ts';
import { collect, type Destination, OUTPUT_OPTIONS, openDestination, showProgress, wantedItems } from './collect.ts';
import { type Args, type Command, UsageError } from './command.ts';
import { PipeClosed } from './output.ts';
import { openProgress, type Progress } from './progress.ts';
import { readPairs, readSpider, readTextPairs } from './spider_file.ts';
import { say } from './terminal.ts';

/** A second Ctrl-C sooner than this is the same one: under npm it comes from the terminal and once more from npm. */
const SAME_KEY_MS = 500;
const INTERRUPTED = 130;

export const crawlCommand: Command = {
  operands: '[URL …]',
  summary: `Starts a crawl and writes its items, as NDJSON on stdout or into a file. Without a spider each page gives its title,
Markdown, links and metadata. Ctrl-C cancels the crawl, keeps what was committed, and exits with 130; pressed again it ends at once.`,
  options: {
    spider: {
      value: 'SPIDER',
      short: 's',
      help: 'a file (.json: definition; .js, .mjs: script), or a stored one: books, books@3',
    },
    param: {
      value: 'NAME=VALUE',
      short: 'p',
      multiple: true,
      help: 'of the spider; a value that is JSON is taken as JSON',
    },
    setting: { value: 'NAME=VALUE', multiple: true, help: 'of the crawl, as maxPages=100' },
    label: { value: 'NAME=VALUE', multiple: true, help: 'to find the crawl by' },
    ...OUTPUT_OPTIONS,
    detach: { short: 'd', help: 'print the id of the crawl and leave it to itself' },
  },
  examples: [
    'orbweaver crawl https://books.example/ > pages.ndjson',
    'orbweaver crawl https://books.example/ --spider books.json -o books.csv --setting maxPages=1000',
    "orbweaver crawl --spider shop@3 --param category=lamps --param 'sizes=[1,2]' -o lamps.parquet",
  ],
  run: crawl,
};

async function crawl(args: Args): Promise<number> {
  const body = await readBody(args);
  const { client } = args;
  if (args.flag('detach')) {
    process.stdout.write(`${(await client.startCrawl(body)).id}\n`);
    return 0;
  }
  const destination = await openDestination(args); // a file that cannot be written costs no crawl
  const started = await client.startCrawl(body);
  args.note(`crawl ${started.id}`);
  return followCrawl(args, client, started, destination);
}

async function readBody(args: Args): Promise<StartCrawl> {
  const spider = args.text('spider');
  if (spider === undefined && args.operands.length === 0)
    throw new UsageError('give a URL, or a --spider that has some');
  const [params, settings, labels] = (['param', 'setting', 'label'] as const).map((option) => args.list(option));
  return {
    ...(args.operands.length === 0 ? {} : { startUrls: [...args.operands] }),
    ...(spider === undefined ? {} : { spider: await readSpider(spider) }),
    ...(params!.length === 0 ? {} : { params: readPairs('param', params!) }),
    ...(settings!.length === 0 ? {} : { settings: readPairs('setting', settings!) as StartCrawl['settings'] & {} }),
    ...(labels!.length === 0 ? {} : { labels: Object.fromEntries(readTextPairs('label', labels!)) }),
  };
}

async function followCrawl(args: Args, client: Orbweaver, { id }: Crawl, destination: Destination): Promise<number> {
  const over = new AbortController();
  const view = openProgress(args.flag('quiet'), destination.sink.isStdout);
  const interrupt = new Interrupt(view, client, id);
  const progress = showProgress(client, id, view, over.signal);
  try {
    await collect(
      client,
      id,
      destination,
      wantedItems(args, (line) => view.note(line)),
    );
  } catch (error) {
    if (error instanceof PipeClosed) return await interrupt.byPipe();
    view.note(`orbweaver: the crawl goes on: orbweaver tail ${id} -o FILE`);
    throw error;
  } finally {
    over.abort();
    await progress;
    interrupt.close();
  }
  const ended = await client.waitFor(id);
  sayHowItEnded(args, ended);
  if (interrupt.happened) return INTERRUPTED;
  return ended.state === 'finished' ? 0 : 1;
}

function sayHowItEnded(args: Args, { id, state, stopReason, stopDetail, stats, warnings }: Crawl): void {
  for (const warning of warnings) args.note(`warning: ${warning}`);
  const reason =
    stopReason === null || stopReason === state
      ? ''
      : ` (${stopReason}${stopDetail === null ? '' : `: ${stopDetail}`})`;
  const { items, done, failed, skipped } = stats;
  args.note(`${state}${reason}: ${items} items of ${done} pages; ${failed} failed, ${skipped} skipped`);
  if (stopReason?.startsWith('max_')) args.note(`to go on: orbweaver resume ${id} --setting ${limitOf(stopReason)}=…`);
}

/** `max_pages` → `maxPages`. */
function limitOf(stopReason: string): string {
  const name = stopReason.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
  return name === 'maxDuration' ? 'maxDurationSeconds' : name;
}

/** Ctrl-C: the first time the crawl is cancelled and its end waited for, the second time the process ends. */
class Interrupt {
  happened = false;
  readonly #view: Progress;
  readonly #client: Orbweaver;
  readonly #id: string;
  #at = 0;
  readonly #onSignal = (): void => this.#signalled();

  constructor(view: Progress, client: Orbweaver, id: string) {
    this.#view = view;
    this.#client = client;
    this.#id = id;
    process.on('SIGINT', this.#onSignal);
  }

  close(): void {
    process.off('SIGINT', this.#onSignal);
  }

  /** Who reads has gone, as in `… | head`. @returns the exit code */
  async byPipe(): Promise<number> {
    this.#view.note(
      `orbweaver: nobody reads on; the crawl is cancelled, and its items stay: orbweaver tail ${this.#id}`,
    );
    await this.#client.cancel(this.#id);
    return INTERRUPTED;
  }

  #signalled(): void {
    if (Date.now() - this.#at < SAME_KEY_MS) return;
    if (this.happened) process.exit(INTERRUPTED);
    this.happened = true;
    this.#at = Date.now();
    this.#view.note(
      `\norbweaver: the crawl is being cancelled; what was committed is kept: orbweaver tail ${this.#id}`,
    );
    this.#client.cancel(this.#id).catch((error: Error) => {
      if (error instanceof OrbweaverError && error.code === 'wrong_state') return; // it has ended by itself
      say(process.stderr, `orbweaver: it could not be cancelled: ${error.message}`);
      process.exit(INTERRUPTED);
    });
  }
}
