import { readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import type { StartCrawl } from '../client.ts';
import { UsageError } from './command.ts';

type Spider = NonNullable<StartCrawl['spider']>;

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$/;
const STORED = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}(?:@\d+)?$/;
const SCRIPTS = ['.js', '.mjs'];

/**
 * What `--spider` names: a definition (`.json`), a script (`.js`, `.mjs`), or a stored spider (`books`, `books@3`). A
 * definition or script without a name gets that of its file.
 */
export async function readSpider(given: string): Promise<Spider> {
  const kind = extname(given);
  if (kind === '.json') return named(given, readObject(await readText(given), given));
  if (SCRIPTS.includes(kind)) return named(given, { script: await readText(given) });
  if (STORED.test(given)) return given;
  throw new UsageError(`--spider is "${given}"; expected a file (.json, .js) or a stored spider as books or books@3`);
}

export async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${(error as Error).message}`);
  }
}

function readObject(text: string, file: string): object {
  try {
    const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch (error) {
    throw new UsageError(`${file} is not JSON: ${(error as Error).message}`);
  }
  throw new UsageError(`${file} has no object; expected the definition of a spider`);
}

function named(file: string, definition: object): Spider {
  const name = basename(file, extname(file));
  return NAME.test(name) ? { name, ...definition } : definition;
}

/** `k=v` as one member of an object: the value is read as JSON where it is JSON, else it is text. */
export function readPairs(option: string, pairs: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    readTextPairs(option, pairs).map(([key, text]) => {
      try {
        return [key, JSON.parse(text) as unknown];
      } catch {
        return [key, text];
      }
    }),
  );
}

export function readTextPairs(option: string, pairs: readonly string[]): [string, string][] {
  return pairs.map((pair) => {
    const at = pair.indexOf('=');
    if (at < 1) throw new UsageError(`--${option} is "${pair}"; expected NAME=VALUE`);
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
}
