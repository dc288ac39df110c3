import { NAME_PATTERN } from '../../model/name.ts';
import type { ProblemCode } from '../../model/problems.ts';
import type { Problem } from '../../model/spider.ts';
import type { Described } from './broker_messages.ts';
import type { Turn } from './protocol.ts';

const NAME = new RegExp(NAME_PATTERN);
const MAX_START_URLS = 10_000;
const MAX_URL = 8000;

/** What a script says of itself, read as a stranger's: what does not fit is a problem at `/script`. */
export function describeScript(description: NonNullable<Turn['description']>): Described {
  if ('failure' in description) return nothing([problem('bad_script', description.failure)]);
  const spider = (description.spider ?? {}) as Record<string, unknown>;
  const problems: Problem[] = [];
  const name = nameOf(spider.name, problems);
  const startUrls = urlsOf(spider.startUrls, problems);
  const callbacks = Array.isArray(spider.callbacks) ? spider.callbacks.slice(0, 1000).map(String) : [];
  if (!callbacks.includes('parse'))
    problems.push(
      problem('no_parse', `the script has ${callbacks.join(', ').slice(0, 200)}; expected a callback \`parse\``),
    );
  return { name, startUrls, callbacks, problems };
}

function nameOf(name: unknown, problems: Problem[]): string | null {
  if (name === null || name === undefined) return null;
  if (typeof name === 'string' && NAME.test(name)) return name;
  problems.push(problem('bad_name', `\`name\` is ${short(name)}; expected a text that fits ${NAME_PATTERN}`));
  return null;
}

function urlsOf(urls: unknown, problems: Problem[]): string[] {
  if (urls === null || urls === undefined) return [];
  const isList = Array.isArray(urls) && urls.length <= MAX_START_URLS;
  const wrong = isList ? urls.findIndex((url) => typeof url !== 'string' || url === '' || url.length > MAX_URL) : 0;
  if (isList && wrong < 0) return urls as string[];
  const found = isList ? `\`startUrls[${wrong}]\` is ${short(urls[wrong])}` : `\`startUrls\` is ${short(urls)}`;
  problems.push(problem('bad_url', `${found}; expected a list of URLs`));
  return [];
}

function nothing(problems: Problem[]): Described {
  return { name: null, startUrls: [], callbacks: [], problems };
}

function problem(code: ProblemCode, message: string): Problem {
  return { pointer: '/script', code, message };
}

function short(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 80);
}
