// This folder runs inside QuickJS, in front of a user's script: no Node, no browser, nothing but the language. It is loaded
// as modules before the script is, takes what it needs of the language while that is still untouched, and keeps the host's
// functions to itself. A script that tampers with the language all the same harms its own crawl alone: the host believes
// nothing that comes from here.

/** How a selector is written. */
export type Language = 'css' | 'xpath';
/** What is read from a node. */
export type What = 'text' | 'attr' | 'number' | 'html' | 'outer' | 'markdown';

/** What the host lets the guest do. Lists travel as JSON; `page` and `document` are numbers that the host gave out. */
export interface Host {
  /** Handles of the nodes that a selector finds below others, as a JSON list. @param scopes JSON list of handles */
  select(page: number, scopes: string, language: Language, selector: string): string;
  /**
   * What nodes hold, as JSON: of the first (null where there is none), or a list of those that hold anything.
   *
   * @param selector empty: of the scopes themselves
   */
  values(
    page: number,
    scopes: string,
    language: Language,
    selector: string,
    what: What,
    name: string,
    first: number,
  ): string;
  /** A document's text. */
  text(page: number, document: number): string;
  /** The document's JSON-LD, as a JSON list. */
  jsonLd(page: number, document: number): string;
  /** An absolute URL; undefined where `href` is none. */
  join(page: number, document: number, href: string): string | undefined;
  /** Prepares a request; the numbers of those that were yielded go out with the page's end. @param parts JSON of what `ctx.follow` was given */
  follow(page: number, document: number, parts: string): number;
  /** Hands something out: an item, a log line, a value to keep, a call, an ending. */
  emit(page: number, kind: Emitted, name: string, text: string): void;
}
export type Emitted = 'item' | 'dropped' | 'log' | 'state' | 'fetch' | 'lookup' | 'read' | 'ended' | 'failed';

/** What the guest lets the host do. */
export interface Entry {
  /** Takes the script's default export; gives its description as JSON. @throws where it is no spider */
  adopt(spider: unknown): string;
  /** Begins a page. @param page number of the page @param input JSON of `PageInput` */
  begin(page: number, input: string): void;
  /** Settles a call. @param ok 1: `answer` is its result as JSON; 0: it is `{ code, message }` */
  settle(call: number, ok: number, answer: string): void;
  /** Forgets a page and its calls. */
  drop(page: number): void;
  /** What was thrown, in words, with the line of the script. */
  describe(error: unknown): string;
}

/** A page as `begin` takes it. */
export interface PageInput {
  /** The callback's name. */
  callback: string;
  depth: number;
  meta: Record<string, unknown>;
  params: Record<string, unknown>;
  crawlId: string;
  response: ResponseInput;
}

/** A response as the guest takes it: of the page, or of `ctx.fetch`. */
export interface ResponseInput {
  document: number;
  /** Handle of the document's root. */
  root: number;
  url: string;
  status: number;
  headers: Record<string, string | string[]>;
}

interface Given {
  __host?: Host;
  __entry?: Entry;
}

const given = globalThis as Given;
export const host: Host = given.__host!;
delete given.__host;

/** Leaves the guest's functions where the host takes them from. */
export function publish(entry: Entry): void {
  given.__entry = entry;
}

export const { parse, stringify } = JSON;
export const { isArray } = Array;
export const { freeze, keys } = Object;

/** A mistake of the script's author, in words for them. */
export class Mistake extends Error {}
