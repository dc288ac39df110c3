import { hash } from 'node:crypto';
import { storedJson } from '../model/extra.ts';
import type { Field } from '../model/field.ts';
import type { ItemState } from '../model/outcome.ts';
import type { ParsePlanInput } from '../model/spider.ts';
import type { Data } from './extract.ts';
import { keyHash } from './step_kinds.ts';

/** Values of one item that are compared by a path of their own; what is nested deeper is compared as a whole. */
const MAX_PATHS = 300;
const MAX_PATH = 300;
const MAX_MEMBERS = 100;
const MAX_DEPTH = 8;

/** What a page is told of its fetch, which differs each time and says nothing of the item. */
const OF_THE_FETCH = ['fetchedAt', 'depth'];

/** Of item types with a key: what later crawls of the spider compare their items by. */
export class ItemStates {
  /** By type. Where two rules make one type, the first that has a key counts. */
  readonly #keys = new Map<string, readonly string[]>();
  /** Fields that are not compared, by type. */
  readonly #ignored = new Map<string, ReadonlySet<string>>();

  /** Null where the crawl compares nothing: another `dedup.scope`, a script, or no item rule with a key. */
  static of({ definition, settings }: ParsePlanInput): ItemStates | null {
    if (settings.dedup.scope !== 'spider') return null;
    const states = new ItemStates();
    for (const { name, items = [] } of definition.pages ?? [])
      for (const { type = name ?? 'item', key = [], fields } of items) {
        if (key.length === 0 || states.#keys.has(type)) continue;
        states.#keys.set(type, key);
        states.#ignored.set(type, new Set(Object.keys(fields).filter((field) => isOfFetch(fields[field]!))));
      }
    return states.#keys.size === 0 ? null : states;
  }

  /** Undefined where the item has no key, or a field of it has no value. */
  of(type: string, data: Data): ItemState | undefined {
    const names = this.#keys.get(type);
    const key = names === undefined ? null : keyHash(type, names, data);
    if (key === null) return undefined;
    const paths = new Map<string, string>();
    const ignored = this.#ignored.get(type);
    for (const name in data) if (!ignored?.has(name)) add(paths, name, data[name], 1);
    const sorted = [...paths].sort(([a], [b]) => (a < b ? -1 : 1));
    const fields = storedJson(Object.fromEntries(sorted));
    return { key, hash: shortHash(fields, 32), fields };
  }
}

function isOfFetch(field: Field): boolean {
  return typeof field === 'object' && 'meta' in field && OF_THE_FETCH.includes(field.meta ?? '');
}

function add(paths: Map<string, string>, path: string, value: unknown, depth: number): void {
  const members = membersOf(value);
  const fits =
    depth < MAX_DEPTH &&
    members.length > 0 &&
    members.length <= MAX_MEMBERS &&
    paths.size + members.length <= MAX_PATHS &&
    members.every(([name]) => path.length + name.length < MAX_PATH);
  if (fits) for (const [name, member] of members) add(paths, `${path}.${name}`, member, depth + 1);
  else paths.set(path.slice(0, MAX_PATH), shortHash(JSON.stringify(value) ?? 'null', 12));
}

function membersOf(value: unknown): [string, unknown][] {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
}

function shortHash(text: string, digits: number): string {
  return hash('sha256', text, 'hex').slice(0, digits);
}
