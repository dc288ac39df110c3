import type { Params } from './spider.ts';

/** Values stop being filled in beyond so many characters: above all that a template may become, below what holds the loop. */
export const MAX_FILLED = 400_000;
const PLACEHOLDER = /\{([A-Za-z_][A-Za-z0-9_-]*)\}/g;

/**
 * A text with each `{name}` that is a param replaced by its value: a list's values joined by commas, an object as JSON, null
 * as nothing. A name that is none is left as it stands.
 *
 * @param encode percent-encodes the values, for URLs; but where the text is one `{name}` alone, the value is the whole URL
 */
export function fillTemplate(text: string, params: Params, encode: boolean): string {
  const encodes = encode && soleName(text) === null;
  let filled = 0;
  return text.replace(PLACEHOLDER, (found, name: string) => {
    if (!Object.hasOwn(params, name)) return found;
    if (filled > MAX_FILLED) return '';
    const raw = textOf(params[name]).toWellFormed();
    const value = encodes ? encodeURIComponent(raw) : raw;
    filled += value.length;
    return value;
  });
}

/** The name of a text that is one `{name}` and nothing else; null for others. */
export function soleName(text: string): string | null {
  return /^\{([A-Za-z_][A-Za-z0-9_-]*)\}$/.exec(text)?.[1] ?? null;
}

/** The names that a template asks for, each once. */
export function namesIn(text: string): string[] {
  return [...new Set([...text.matchAll(PLACEHOLDER)].map((found) => found[1]!))];
}

/** The params with the `default` of each top-level property of the schema that is not given. */
export function withDefaults(schema: Record<string, unknown> | undefined, params: Params): Params {
  const properties = schema?.properties;
  if (typeof properties !== 'object' || properties === null) return params;
  const defaults = Object.entries(properties).flatMap(([name, property]: [string, unknown]) => {
    const isGiven = Object.hasOwn(params, name);
    if (isGiven || typeof property !== 'object' || property === null || !('default' in property)) return [];
    return [[name, property.default] as const];
  });
  return defaults.length === 0 ? params : { ...params, ...Object.fromEntries(defaults) };
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (Array.isArray(value)) return value.map(textOf).join(',');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
