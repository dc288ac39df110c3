import type { Preview } from '../client.ts';
import type { Args, Command } from './command.ts';
import { readPairs, readSpider, readText } from './spider_file.ts';
import { say } from './terminal.ts';

const SHOWN = 20;

export const previewCommand: Command = {
  operands: 'URL',
  summary:
    'Shows what a spider makes of one page, and why; nothing is stored. Exits with 1 where a crawl would not keep the page.',
  options: {
    spider: {
      value: 'SPIDER',
      short: 's',
      help: 'a file (.json: definition; .js, .mjs: script), or a stored one: books, books@3',
    },
    html: { value: 'FILE', help: "taken as the URL's page; else it is fetched" },
    page: { value: 'NAME', help: 'the page entry or callback that the page is given to' },
    param: {
      value: 'NAME=VALUE',
      short: 'p',
      multiple: true,
      help: 'of the spider; a value that is JSON is taken as JSON',
    },
    setting: { value: 'NAME=VALUE', multiple: true, help: 'of the crawl, as render=true' },
    all: { help: `every item and link, not the first ${SHOWN}` },
    json: { help: 'the answer of the API as it is' },
  },
  examples: [
    'orbweaver preview https://books.example/ --spider books.json',
    'orbweaver preview https://books.example/emma --spider books.json --html emma.html',
  ],
  run: preview,
};

async function preview(args: Args): Promise<number> {
  const [url] = args.exactly('URL') as [string];
  const [spider, html, page] = [args.text('spider'), args.text('html'), args.text('page')];
  const [params, settings] = [args.list('param'), args.list('setting')];
  const body = {
    url,
    ...(spider === undefined ? {} : { spider: await readSpider(spider) }),
    ...(html === undefined ? {} : { html: await readText(html) }),
    ...(page === undefined ? {} : { page }),
    ...(params.length === 0 ? {} : { params: readPairs('param', params) }),
    ...(settings.length === 0 ? {} : { settings: readPairs('setting', settings) }),
  };
  const { data } = await args.client.http.POST('/spiders/preview', { body });
  const found = data!;
  const lines = args.flag('json') ? [JSON.stringify(found, null, 2)] : linesOf(found, args.flag('all') ? 1000 : SHOWN);
  say(process.stdout, lines.join('\n'));
  return found.outcome.state === 'done' ? 0 : 1;
}

function linesOf(found: Preview, shown: number): string[] {
  const { links, counts, fields } = found;
  return [
    headOf(found),
    ...part('Items', counts.items, shown, found.items, ({ type, data }) => `${type}  ${JSON.stringify(data)}`),
    ...Object.entries(found.dropped).map(([reason, n]) => `  ${n} dropped: ${reason}`),
    ...part('Selectors, with their matches', fields.length, 1000, fields, ({ hits, text, pointer }) => {
      const mark = hits === 0 ? '   nothing matched' : '';
      return `${String(hits).padStart(5)}  ${text}  ${pointer}${mark}`;
    }),
    ...part('Links kept', counts.linksKept, shown, links.kept, ({ method, url, rule }) => {
      return `${method === 'GET' ? '' : `${method} `}${url}  (${rule})`;
    }),
    ...part('Links dropped', counts.linksDropped, shown, links.dropped, ({ url, reason, rule }) => {
      return `${url}  ${reason}${rule === null ? '' : ` (${rule})`}`;
    }),
    ...part('Log', found.logs.length, 1000, found.logs, ({ level, message }) => `${level}  ${message}`),
    ...part('Warnings', found.warnings.length, 1000, found.warnings, String),
  ];
}

function headOf({ url, status, fetched, outcome, content, pages, redirects }: Preview): string {
  const facts = [
    ...(status === null ? [] : [`status ${status}`]),
    ...(fetched === null ? [] : [`${fetched.bytes} bytes in ${fetched.ms} ms`]),
    ...(content === null ? [] : [content]),
    ...(pages.length === 0 ? [] : [`read by ${pages.join(', ')}`]),
  ];
  const { state, reason, detail } = outcome;
  const why = reason === null ? '' : `: ${reason}${detail === null ? '' : ` (${detail})`}`;
  return [
    ...redirects.map((hop) => `${hop.url}  ${hop.status}  redirects to`),
    `${url}${facts.length === 0 ? '' : `  ${facts.join(', ')}`}`,
    `A crawl would say: ${state}${why}`,
  ].join('\n');
}

function part<T>(title: string, count: number, shown: number, list: readonly T[], line: (one: T) => string): string[] {
  if (count === 0) return title.startsWith('Items') ? [`\n${title}: none`] : [];
  const rest = count - Math.min(shown, list.length);
  const more = rest === 0 ? [] : [`  … and ${rest} more`];
  return [`\n${title} (${count})`, ...list.slice(0, shown).map((one) => `  ${line(one)}`), ...more];
}
