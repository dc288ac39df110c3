import { nearest } from '../model/nearest.ts';
import { fillTemplate, MAX_FILLED, namesIn, soleName } from '../model/params.ts';
import { pointerPart } from '../model/pointer.ts';
import { MAX_PROBLEMS } from '../model/problems.ts';
import type { Params, Problem, StartUrl } from '../model/spider.ts';

/** A start URL that is more than a URL. */
export type StartObject = Exclude<StartUrl, string>;

/** A start URL with its params filled in: once, or once for each value of the lists that it names. */
export interface Filled {
  /** How many `starts` there are. */
  count: number;
  starts: Iterable<StartObject>;
  problems: Problem[];
}

/**
 * Start URLs as templates of a crawl's params. Where a spider declares no params and the crawl gives none, a `{name}` is text
 * as any other: URLs with braces exist.
 */
export class StartTemplates {
  readonly #params: Params;
  readonly #declared: Readonly<Record<string, unknown>>;
  readonly #isOn: boolean;

  /** @param schema the spider's `params`. @param isGiven whether the crawl gives params of its own */
  constructor(schema: Readonly<Record<string, unknown>> | undefined, params: Params, isGiven: boolean) {
    const properties = schema?.properties;
    this.#params = params;
    this.#declared = typeof properties === 'object' && properties !== null ? { ...properties } : {};
    this.#isOn = schema !== undefined || isGiven;
  }

  /** @param at its pointer, for names that are unknown */
  fill(start: StartObject, at: string): Filled {
    const names = this.#isOn ? namesOf(start) : [];
    if (names.length === 0) return { count: 1, starts: [start], problems: [] };
    const wrong = names.values().map((name) => this.#nameProblem(name, at));
    const problems = [...wrong.filter((problem) => problem !== null).take(MAX_PROBLEMS)];
    if (problems.length > 0) return { count: 0, starts: [], problems };
    const lists = names.filter((name) => Array.isArray(this.#params[name]));
    const count = lists.reduce((product, name) => product * (this.#params[name] as unknown[]).length, 1);
    return { count, starts: this.#each(start, lists), problems };
  }

  #nameProblem(name: string, at: string): Problem | null {
    if (Object.hasOwn(this.#params, name)) return null;
    if (Object.hasOwn(this.#declared, name))
      return {
        pointer: `/params/${pointerPart(name)}`,
        code: 'required',
        message: `\`${name}\` is missing; a start URL needs it`,
      };
    const known = [...new Set([...Object.keys(this.#declared), ...Object.keys(this.#params)])].slice(0, 100);
    const near = nearest(name, known);
    const hint =
      near !== null
        ? `did you mean {${near}}?`
        : `known params: ${
            known
              .slice(0, 20)
              .map((one) => one.slice(0, 80))
              .join(', ') || 'none'
          }`;
    return { pointer: at, code: 'unknown_param', message: `there is no param \`${name}\`; ${hint}` };
  }

  *#each(start: StartObject, lists: readonly string[], chosen: Params = this.#params): Generator<StartObject> {
    const [name, ...others] = lists;
    if (name === undefined) yield filledIn(start, chosen);
    else
      for (const value of this.#params[name] as unknown[])
        yield* this.#each(start, others, { ...chosen, [name]: value });
  }
}

/** Every string that may hold a param. */
function namesOf({ url, headers = {}, form = {}, json, body = '' }: StartObject): string[] {
  const texts = [url, ...Object.values(headers), ...Object.values(form), body, ...stringsIn(json)];
  return [...new Set(texts.flatMap(namesIn))];
}

function stringsIn(json: unknown): string[] {
  if (typeof json === 'string') return [json];
  return typeof json === 'object' && json !== null ? Object.values(json).flatMap(stringsIn) : [];
}

/** Once it is used up, what is filled is too long in any case, and is refused as that. */
interface Budget {
  left: number;
}

function filledIn(start: StartObject, params: Params): StartObject {
  const budget: Budget = { left: MAX_FILLED };
  const fill = (text: string, encode = false) => {
    const filled = budget.left > 0 ? fillTemplate(text, params, encode) : '';
    budget.left -= filled.length;
    return filled;
  };
  const fillAll = (texts: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, fill(text)]));
  const { headers, form, json, body } = start;
  return {
    ...start,
    url: fill(start.url, true),
    ...(headers === undefined ? {} : { headers: fillAll(headers) }),
    ...(form === undefined ? {} : { form: fillAll(form) }),
    ...(json === undefined ? {} : { json: fillJson(json, params, budget, fill) }),
    ...(body === undefined ? {} : { body: fill(body) }),
  };
}

/** A string that is one `{name}` and nothing else becomes the value itself: a number stays a number. */
function fillJson(json: unknown, params: Params, budget: Budget, fill: (text: string) => string): unknown {
  if (typeof json === 'string') {
    const name = soleName(json);
    const value = name !== null && Object.hasOwn(params, name) ? params[name] : undefined;
    if (value === undefined || typeof value === 'string' || budget.left <= 0) return fill(json);
    budget.left -= JSON.stringify(value).length;
    return value;
  }
  if (Array.isArray(json)) return json.map((one: unknown) => fillJson(one, params, budget, fill));
  if (typeof json !== 'object' || json === null) return json;
  return Object.fromEntries(Object.entries(json).map(([key, one]) => [key, fillJson(one, params, budget, fill)]));
}
