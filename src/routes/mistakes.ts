import type { FastifyRequest } from 'fastify';
import { ApiError, refuse } from '../errors.ts';
import type { Schema } from '../model/fits.ts';
import { pointerNames, pointerPart } from '../model/pointer.ts';
import { MAX_PROBLEMS } from '../model/problems.ts';
import type { Problem } from '../model/spider.ts';
import type { TSchema } from '../model/type.ts';
import { explain } from './validate.ts';

/** What a removed part hid may be wrong as well: an object whose last wrong field is gone may lack one now. */
const ROUNDS = 3;

/** What is wrong with a body beyond its schema. */
export interface Beyond<T> {
  /** What is wrong with a part of the right shape; told the body without its wrong parts. */
  ofRest: (rest: Partial<T>) => Promise<Problem[]> | Problem[];
  /** What is wrong with the spider, which may be any JSON; pointers start at it. */
  ofSpider: (spider: unknown) => Promise<Problem[]>;
  /** Where the spider is in the body. */
  spiderAt: '' | '/spider' | '/crawl/spider';
}

/**
 * Refuses a body that does not fit its schema, with what is wrong beyond the schema too, so that all mistakes come at once.
 * To be called where `request.validationError` is there.
 *
 * @throws ApiError always
 */
export async function refuseBody<T>(request: FastifyRequest, schema: TSchema, beyond: Beyond<T>): Promise<never> {
  const error: unknown = request.validationError;
  if (!(error instanceof ApiError) || request.validationError?.validationContext !== 'body') throw error;
  if (error.problems.length >= MAX_PROBLEMS || error.problems.some(({ pointer }) => pointer === '')) throw error;
  const rest = restOf(schema as Schema, request.body);
  const ofRest = rest.value === null ? [] : await beyond.ofRest(rest.value as Partial<T>);
  const more = ofRest.map((one) => ({ ...one, pointer: rest.original(one.pointer) }));
  more.push(...(await spiderMistakes(request.body, beyond)));
  const isKnown = ({ pointer, code }: Problem) =>
    error.problems.some(
      (known) => `${pointer}/`.startsWith(`${known.pointer}/`) || (code === 'required' && isBelow(known, pointer)),
    );
  refuse([...error.problems, ...more.filter((one) => !isKnown(one))], beyond.spiderAt);
  throw error;
}

/** Whether what is missing at the pointer may be there, wrong: a field that nobody knows is none of what is missing. */
function isBelow(known: Problem, pointer: string): boolean {
  if (!known.pointer.startsWith(`${pointer}/`)) return false;
  return known.code !== 'unknown_field' || known.pointer.slice(pointer.length + 1).includes('/');
}

async function spiderMistakes<T>(body: unknown, { ofSpider, spiderAt }: Beyond<T>): Promise<Problem[]> {
  const spider = pointerNames(spiderAt).reduce<unknown>(
    (value, name) => (typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined),
    body,
  );
  if (typeof spider !== 'object' || spider === null || Array.isArray(spider)) return [];
  // A spider so wrong that it cannot be checked has been refused by the schema already.
  const found = (await ofSpider(spider)).filter(({ code }) => code !== 'too_complex');
  return found.map((one) => ({ ...one, pointer: spiderAt + one.pointer }));
}

/** A body without its wrong parts. */
interface Rest {
  /** Null: nothing of use is left. */
  value: unknown;
  /** The pointer in the body of a pointer in `value`: members of lists have moved up. */
  original: (pointer: string) => string;
}

function restOf(schema: Schema, body: unknown): Rest {
  let rest: Rest = { value: body, original: (pointer) => pointer };
  for (let round = 0; round < ROUNDS; round++) {
    // What is missing at the top cannot be mended by removing the whole.
    const problems = explain(schema, rest.value, '').filter(({ pointer, code }) => !isMissingAtTop(pointer, code));
    if (problems.length === 0) return rest;
    if (problems.some(({ pointer }) => pointer === '')) break;
    rest = without(rest, problems);
  }
  return { ...rest, value: null };
}

const isMissingAtTop = (pointer: string, code: string) => code === 'required' && pointerNames(pointer).length === 1;

/** Parts to be removed, by key; true: the whole member. */
type Cuts = Map<string, Cuts | true>;

function without(rest: Rest, problems: readonly Problem[]): Rest {
  const cuts: Cuts = new Map();
  for (const { pointer, code } of problems) {
    const path = pointerNames(pointer);
    addCut(cuts, code === 'required' ? path.slice(0, -1) : path); // the object that lacks something goes
  }
  const moved = new Map<string, number[]>();
  const value = copy(rest.value, cuts, '', moved);
  return { value, original: (pointer) => rest.original(movedBack(pointer, moved)) };
}

function addCut(cuts: Cuts, path: string[]): void {
  let at = cuts;
  for (const [i, part] of path.entries()) {
    const inner = at.get(part);
    if (inner === true) return;
    if (i === path.length - 1) at.set(part, true);
    else {
      const next: Cuts = inner ?? new Map();
      at.set(part, next);
      at = next;
    }
  }
}

/** @param moved by pointer of a list in the copy: the original places of its members */
function copy(value: unknown, cuts: Cuts, at: string, moved: Map<string, number[]>): unknown {
  const kept = (key: string, entry: unknown, place: string) => {
    const inner = cuts.get(key);
    return inner === undefined || inner === true ? entry : copy(entry, inner, place, moved);
  };
  if (Array.isArray(value)) {
    const places = [...value.keys()].filter((i) => cuts.get(String(i)) !== true);
    moved.set(at, places);
    return places.map((i, now) => kept(String(i), value[i], `${at}/${now}`));
  }
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => cuts.get(key) !== true);
  return Object.fromEntries(entries.map(([key, entry]) => [key, kept(key, entry, `${at}/${pointerPart(key)}`)]));
}

function movedBack(pointer: string, moved: ReadonlyMap<string, number[]>): string {
  let from = '';
  let to = '';
  for (const one of pointer.split('/').slice(1)) {
    to += `/${moved.get(from)?.[Number(one)] ?? one}`;
    from += `/${one}`;
  }
  return to;
}
