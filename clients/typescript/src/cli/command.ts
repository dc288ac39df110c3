import { parseArgs } from 'node:util';
import { createClient, type Orbweaver } from '../client.ts';
import { say } from './terminal.ts';

/** One option of a command. */
export interface Option {
  /** What stands for its value in the help; absent: it has none. */
  value?: string;
  short?: string;
  /** May be given more than once. */
  multiple?: true;
  help: string;
}

export interface Command {
  /** Behind the name, as `CRAWL URL`. */
  operands: string;
  summary: string;
  options: Readonly<Record<string, Option>>;
  examples: readonly string[];
  /** @returns the exit code */
  run(args: Args): Promise<number>;
}

/** The command line is wrong: exit code 2. */
export class UsageError extends Error {}

const DEFAULT_URL = 'http://127.0.0.1:3000';

const COMMON: Readonly<Record<string, Option>> = {
  url: { value: 'URL', help: `the service; else ORBWEAVER_URL, else ${DEFAULT_URL}` },
  'api-key': { value: 'SECRET', help: 'of its API_KEYS; else ORBWEAVER_API_KEY' },
  quiet: { short: 'q', help: 'nothing on stderr but errors' },
  help: { short: 'h', help: 'this text' },
};

/** What was given to a command. */
export class Args {
  readonly operands: readonly string[];
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(values: Readonly<Record<string, unknown>>, operands: readonly string[]) {
    this.#values = values;
    this.operands = operands;
  }

  text(name: string): string | undefined {
    return this.#values[name] as string | undefined;
  }

  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  list(name: string): readonly string[] {
    return (this.#values[name] as string[] | undefined) ?? [];
  }

  /** A whole number, from 0. */
  whole(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (!/^\d{1,15}$/.test(text)) throw new UsageError(`--${name} is "${text}"; expected a whole number`);
    return Number(text);
  }

  /** The only operands, by their names in the usage. */
  exactly(...names: string[]): string[] {
    if (this.operands.length > names.length) throw new UsageError(`"${this.operands[names.length]}" is one too many`);
    const missing = names[this.operands.length];
    if (missing !== undefined) throw new UsageError(`${missing} is missing`);
    return [...this.operands];
  }

  get client(): Orbweaver {
    const url = this.text('url') ?? (process.env.ORBWEAVER_URL || DEFAULT_URL);
    if (!/^https?:\/\//.test(url) || !URL.canParse(url))
      throw new UsageError(`the service's URL is "${url}"; expected one as ${DEFAULT_URL}`);
    return createClient({ url, apiKey: this.text('api-key') ?? (process.env.ORBWEAVER_API_KEY || undefined) });
  }

  /** Says something to the person, unless it is to be quiet. */
  note(line: string): void {
    if (!this.flag('quiet')) say(process.stderr, line);
  }
}

/** @throws UsageError that names the nearest option where one is unknown */
export function readArgs(command: Command, argv: readonly string[]): Args {
  const options = { ...command.options, ...COMMON };
  const config = Object.entries(options).map(([name, { value, short, multiple = false }]) => {
    const type: 'string' | 'boolean' = value === undefined ? 'boolean' : 'string';
    return [name, { type, multiple, ...(short === undefined ? {} : { short }) }] as const;
  });
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: Object.fromEntries(config),
      allowPositionals: true,
    });
    return new Args(values, positionals);
  } catch (error) {
    const unknown = /^Unknown option '(--?[^']+)'/.exec((error as Error).message)?.[1];
    if (unknown === undefined) throw new UsageError((error as Error).message);
    const near = nearest(unknown.replace(/^-+/, ''), Object.keys(options));
    throw new UsageError(`there is no option ${unknown}${near === null ? '' : `; did you mean --${near}?`}`);
  }
}

export function helpOf(name: string, { operands, summary, options, examples }: Command): string {
  const rows = Object.entries({ ...options, ...COMMON }).map(([long, { value, short, help }]) => {
    const left = `${short === undefined ? '    ' : `-${short}, `}--${long}${value === undefined ? '' : ` ${value}`}`;
    return [left, help] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  const usage = ['orbweaver', name, operands, '[options]'].filter((word) => word !== '').join(' ');
  return [
    `${usage}\n\n${summary}\n`,
    ...rows.map(([left, help]) => `  ${left.padEnd(width)}  ${help}`),
    `\n${examples.length === 1 ? 'Example' : 'Examples'}:`,
    ...examples.map((example) => `  ${example}`),
  ].join('\n');
}

/** The known word that was probably meant; null where none is near. */
export function nearest(word: string, known: readonly string[]): string | null {
  const from = word.slice(0, 50);
  const ranked = known
    .map((name) => ({ name, distance: name.startsWith(from) ? 1 : editDistance(from, name) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best !== undefined && best.distance <= Math.max(2, Math.floor(from.length / 3)) ? best.name : null;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}
