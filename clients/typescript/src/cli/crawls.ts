import type { Crawl, Stats } from '../client.ts';
import { collect, OUTPUT_OPTIONS, openDestination, wantedItems } from './collect.ts';
import { type Args, type Command, UsageError } from './command.ts';
import { readPairs } from './spider_file.ts';
import { say } from './terminal.ts';

const JSON_OPTION = { json: { help: 'the answer of the API as it is' } } as const;

const print = (text: string) => say(process.stdout, text);
const printJson = (value: unknown) => print(JSON.stringify(value, null, 2));

export const tailCommand: Command = {
  operands: 'CRAWL',
  summary: 'Writes the items of a crawl that is there already, until it has ended; or its events.',
  options: {
    ...OUTPUT_OPTIONS,
    after: { value: 'OFFSET', help: 'only items behind this offset; default: all' },
    limit: { value: 'N', help: 'at most so many items' },
    'no-follow': { help: 'only what is there now' },
    events: { help: 'instead of the items: states, progress, failures and the log, one JSON a line' },
  },
  examples: [
    'orbweaver tail 01a20615-0591-7679-ae59-06275bfdbf09 --after 299',
    'orbweaver tail 01a20615-0591-7679-ae59-06275bfdbf09 --type product -o products.csv',
    'orbweaver tail 01a20615-0591-7679-ae59-06275bfdbf09 --events',
  ],
  run: async (args) => {
    const [id] = args.exactly('CRAWL') as [string];
    const { client } = args;
    if (args.flag('events')) {
      const { onRetry } = wantedItems(args);
      for await (const event of client.followEvents(id, { onRetry })) print(JSON.stringify(event));
      return 0;
    }
    const [after, limit, follow] = [args.whole('after'), args.whole('limit'), !args.flag('no-follow')];
    const options = { ...wantedItems(args), after, limit, follow };
    await collect(client, id, await openDestination(args), options);
    return 0;
  },
};

export const listCommand: Command = {
  operands: '',
  summary: 'Lists crawls, newest first.',
  options: {
    state: { value: 'STATE', help: 'queued, running, pausing, paused, finished, failed, cancelled' },
    spider: { value: 'NAME', help: 'only crawls of this spider' },
    label: { value: 'NAME=VALUE', help: 'only crawls with this label' },
    limit: { value: 'N', help: 'at most so many, 100 at most; default 20' },
    ...JSON_OPTION,
  },
  examples: ['orbweaver list --state running --label team=research'],
  run: async (args) => {
    args.exactly();
    const limit = args.whole('limit');
    const label = args.text('label')?.replace('=', ':');
    const [state, spider] = [args.text('state') as Crawl['state'] | undefined, args.text('spider')];
    const query = {
      ...(limit === undefined ? {} : { limit }),
      ...(label === undefined ? {} : { label }),
      ...(state === undefined ? {} : { state }),
      ...(spider === undefined ? {} : { spider }),
    };
    const { data } = await args.client.http.GET('/crawls', { params: { query } });
    if (args.flag('json')) printJson(data);
    else for (const row of tableOf(data?.crawls ?? [])) print(row);
    return 0;
  },
};

function tableOf(crawls: readonly Crawl[]): string[] {
  const rows = crawls.map(({ id, state, spider, stats, createdAt, startUrls }) => {
    const name =
      spider.name === null
        ? String(startUrls[0] ?? '')
        : `${spider.name}${spider.version === null ? '' : `@${spider.version}`}`;
    return [id, state, `${stats.done} pages`, `${stats.items} items`, createdAt.slice(0, 19).replace('T', ' '), name];
  });
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]!.length))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd(),
  );
}

export const statusCommand: Command = {
  operands: 'CRAWL',
  summary: 'Says how far a crawl is, what came of its URLs, and what is worth a look.',
  options: JSON_OPTION,
  examples: ['orbweaver status 01a20615-0591-7679-ae59-06275bfdbf09'],
  run: async (args) => {
    const [id] = args.exactly('CRAWL') as [string];
    const { client } = args;
    const [crawl, stats] = await Promise.all([client.crawl(id), client.http.GET('/crawls/{id}/stats', pathOf(id))]);
    if (args.flag('json')) printJson({ ...crawl, stats: stats.data });
    else for (const row of statusOf(crawl, stats.data!)) print(row);
    return 0;
  },
};

function statusOf(crawl: Crawl, stats: Stats): string[] {
  const { discovered, queued, inProgress, done, failed, skipped, items, dropped } = stats.counts;
  const why =
    crawl.stopReason === null
      ? ''
      : ` (${crawl.stopReason}${crawl.stopDetail === null ? '' : `: ${crawl.stopDetail}`})`;
  const counts = (of: Record<string, number>) =>
    Object.entries(of)
      .map(([word, n]) => `${n} ${word}`)
      .join(', ') || 'none';
  const statuses = Object.entries(stats.byStatus).map(([status, n]) => `${status}: ${n}`);
  return [
    `state    ${crawl.state}${why}, ${stats.seconds.toFixed(1)} s, ${stats.pagesPerSecond} pages/s`,
    `URLs     ${discovered} = ${queued} queued + ${inProgress} in progress + ${done} done + ${failed} failed + ${skipped} skipped`,
    `items    ${items} (${counts(stats.itemTypes)}), ${dropped} dropped`,
    `reasons  ${counts(stats.byReason)}`,
    `status   ${statuses.join(', ') || 'none'}`,
    ...crawl.warnings.map((warning) => `warning  ${warning}`),
  ];
}

export const whyCommand: Command = {
  operands: 'CRAWL URL',
  summary: 'Says what became of one URL and why, and which pages led to it.',
  options: JSON_OPTION,
  examples: ['orbweaver why 01a20615-0591-7679-ae59-06275bfdbf09 https://books.example/admin/login'],
  run: async (args) => {
    const [id, url] = args.exactly('CRAWL', 'URL') as [string, string];
    const params = { path: { id }, query: { url } };
    const { data } = await args.client.http.GET('/crawls/{id}/requests/why', { params });
    if (args.flag('json')) printJson(data);
    else {
      print(`${data!.request.url}\n${data!.explanation}`);
      for (const { url: from, depth } of data!.discoveredFrom) print(`  found on ${from} (depth ${depth})`);
    }
    return 0;
  },
};

/** `cancel` and `pause` differ in a word. */
export function changeCommand(word: 'cancel' | 'pause', summary: string): Command {
  return {
    operands: 'CRAWL …',
    summary,
    options: {},
    examples: [`orbweaver ${word} 01a20615-0591-7679-ae59-06275bfdbf09`],
    run: (args) => forEach(args, (id) => args.client[word](id)),
  };
}

export const resumeCommand: Command = {
  operands: 'CRAWL …',
  summary: 'Goes on after a pause, and after a limit that is raised.',
  options: { setting: { value: 'NAME=VALUE', multiple: true, help: 'changed first, as maxPages=2000' } },
  examples: ['orbweaver resume 01a20615-0591-7679-ae59-06275bfdbf09 --setting maxPages=2000'],
  run: (args) => {
    const settings = readPairs('setting', args.list('setting'));
    return forEach(args, async (id) => {
      if (Object.keys(settings).length > 0)
        await args.client.http.PATCH('/crawls/{id}', { ...pathOf(id), body: { settings } });
      return args.client.resume(id);
    });
  },
};

async function forEach(args: Args, change: (id: string) => Promise<Crawl>): Promise<number> {
  if (args.operands.length === 0) throw new UsageError('CRAWL is missing');
  for (const id of args.operands) print(`${id} ${(await change(id)).state}`);
  return 0;
}

const pathOf = (id: string) => ({ params: { path: { id } } });
