import { storedJson } from '../../model/extra.ts';
import type { RequestExtra } from '../../model/request.ts';
import { partProblems, type RequestParts, sentParts } from '../../model/request_parts.ts';
import type { Data } from '../extract.ts';
import { ItemSink } from '../items.ts';
import type { Steps } from '../steps.ts';
import { type Body, GuestDocument, type GuestNode, readNode, select } from './documents.ts';
import { type ChildCall, type ChildLink, type ChildPage, type EndedPage, LIMITS } from './protocol.ts';
import type { GuestScope } from './scope.ts';
import { ScriptMistake } from './vm.ts';

const MAX_NODES = 500_000;
/** What a script may say about a request; `url` is put there by the guest. */
const PARTS = [
  'url',
  'callback',
  'priority',
  'meta',
  'render',
  'method',
  'headers',
  'body',
  'form',
  'json',
  'document',
];
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];
const MAX_PRIORITY = 1000;
const DEFAULT_CALLBACK = 'parse';
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** A fetched response's head. */
type Fetched = { url: string; status: number; headers: Record<string, string | string[]> };

interface Prepared {
  link: ChildLink | null;
  bytes: number;
}

interface Found {
  document: GuestDocument;
  node: GuestNode;
}

/** The host's side of one page: its documents, the nodes that the guest holds numbers of, and what it has handed out. */
export class GuestPage {
  readonly number: number;
  readonly input: ChildPage;
  readonly calls: ChildCall[] = [];
  /** Calls without an answer, by number. */
  readonly pending = new Map<number, { hops: number; question: ChildCall['question'] }>();
  /** Calls that come to nothing here; the guest is told when it has finished what it is at. */
  readonly refused: { call: number; code: string; message: string }[] = [];
  readonly end: EndedPage;
  cpuMs = 0;
  hasEnded = false;
  readonly #scope: GuestScope;
  readonly #explain: boolean;
  readonly #documents: GuestDocument[] = [];
  /** `node` null: the root, since the tree is made when it is first asked for. */
  readonly #nodes: { document: GuestDocument; node: GuestNode | null }[] = [];
  readonly #prepared: Prepared[] = [];
  /** With a pipeline: its items pass through there. */
  readonly #sink: ItemSink | null;
  readonly #items: Uint8Array[] = [];
  #bytes = { items: 0, links: 0, fetched: 0, state: 0 };
  #asked = 0;
  #logged = 0;

  constructor(number: number, input: ChildPage, scope: GuestScope, steps: Steps | null, explain: boolean) {
    this.#sink = steps === null ? null : new ItemSink(steps);
    this.number = number;
    this.input = input;
    this.#scope = scope;
    this.#explain = explain;
    this.end = {
      page: number,
      cpuMs: 0,
      failure: null,
      items: [],
      steps: {},
      links: [],
      dropped: {},
      state: {},
      flags: [],
      unlogged: 0,
      hits: [],
    };
  }

  /** Adds a response; gives the numbers by which the guest knows its document and its root. */
  addDocument(body: Body, parser: 'fast' | 'html5'): { document: number; root: number } {
    const document = new GuestDocument(body, parser);
    const root = this.#nodes.push({ document, node: null }) - 1;
    return { document: this.#documents.push(document) - 1, root };
  }

  /** Counts a fetched body. @returns false where the page has fetched too much */
  admitsBody(bytes: number): boolean {
    this.#bytes.fetched += bytes;
    return this.#bytes.fetched <= LIMITS.fetchedBytes;
  }

  document(number: number): GuestDocument {
    const document = this.#documents[number];
    if (document === undefined) throw new ScriptMistake(`there is no document ${number} on this page`);
    return document;
  }

  select(scopes: string, language: string, selector: string): string {
    const handles = this.#find(scopes, language, selector).map((found) => this.#nodes.push(found) - 1);
    if (this.#nodes.length > MAX_NODES)
      throw new ScriptMistake(`more than ${MAX_NODES} nodes were selected on one page`);
    return JSON.stringify(handles);
  }

  values(scopes: string, language: string, selector: string, what: string, name: string, first: number): string {
    const nodes = selector === '' ? this.#known(scopes) : this.#find(scopes, language, selector);
    const read = ({ document, node }: Found) => readNode(document, node, what, name);
    const value =
      first === 1 ? (nodes[0] === undefined ? null : read(nodes[0])) : nodes.map(read).filter((one) => one !== null);
    return JSON.stringify(value).replaceAll('\0', '\ufffd');
  }

  #find(scopes: string, language: string, selector: string): Found[] {
    const found = new Map<GuestNode | number, Found>();
    for (const { document, node } of this.#known(scopes))
      for (const one of select(document, node, language, selector))
        found.set(typeof one === 'string' ? found.size : one, { document, node: one });
    if (this.#explain) this.end.hits.push({ language, text: selector, hits: found.size });
    return [...found.values()];
  }

  /** The nodes of a JSON list of handles, as far as they are this page's. */
  #known(scopes: string): Found[] {
    const handles = JSON.parse(scopes) as unknown;
    if (!Array.isArray(handles)) throw new ScriptMistake('that is no list of nodes');
    return handles.map((handle) => {
      const known = Number.isSafeInteger(handle) ? this.#nodes[handle as number] : undefined;
      if (known === undefined) throw new ScriptMistake(`there is no node ${String(handle).slice(0, 20)} on this page`);
      return { document: known.document, node: known.node ?? known.document.tree.root };
    });
  }

  /** Takes an item, through the pipeline where there is one. @throws StepFailed */
  item(type: string, json: string): void {
    if (this.#sink !== null) {
      this.#sink.add(type, JSON.parse(json) as Data);
      if (this.#sink.full) this.#flag('items');
      return;
    }
    const bytes = Buffer.from(json);
    if (this.#items.length >= LIMITS.items || this.#bytes.items + bytes.length > LIMITS.itemBytes) {
      this.#flag('items');
      return;
    }
    this.#bytes.items += bytes.length;
    this.end.items.push({ type, place: this.#items.length, keys: [], wait: null });
    this.#items.push(bytes);
  }

  /** The page has come to its end: gives the data of its items, in the order of `end.items`. */
  finish(): Uint8Array[] {
    if (this.end.failure !== null) return [];
    if (this.#sink === null) return this.#items;
    const { items, dropped, steps = {}, pending } = this.#sink.outcome();
    for (const [reason, n] of Object.entries(dropped)) this.end.dropped[reason] = (this.end.dropped[reason] ?? 0) + n;
    this.end.steps = steps;
    const kept = items.map(({ type, keys = [], data }, i) => ({
      type,
      place: pending?.places[i] ?? i,
      keys,
      wait: null,
      data,
    }));
    const waiting = (pending?.waiting ?? []).map(({ type, place, keys, step, question, data }) => ({
      ...{ type, place, keys, data },
      wait: { step, question },
    }));
    const all = [...kept, ...waiting];
    if (all.length > LIMITS.items) this.#flag('items');
    const taken = all.slice(0, LIMITS.items);
    this.end.items = taken.map(({ data: _, ...row }) => row);
    return taken.map(({ data }) => Buffer.from(data));
  }

  dropped(reason: string): void {
    this.end.dropped[reason] = (this.end.dropped[reason] ?? 0) + 1;
  }

  /** Prepares a request. @param text JSON of what `ctx.follow` was given. @throws ScriptMistake */
  prepare(document: number, text: string): number {
    if (this.#prepared.length >= LIMITS.links * 2)
      throw new ScriptMistake('ctx.follow was called too often on this page');
    const given = partsOf(text, 'ctx.follow', PARTS);
    const { priority = 0, url } = given;
    if (typeof priority !== 'number' || !Number.isInteger(priority) || Math.abs(priority) > MAX_PRIORITY)
      throw new ScriptMistake(`ctx.follow: priority is ${short(priority)}; expected a whole number of -1000 to 1000`);
    const extra = extraOf(given);
    const judged = this.#scope.link(String(url), this.document(document).base);
    const link = judged && { ...judged, priority, extra };
    return this.#prepared.push({ link, bytes: text.length + String(link?.url).length }) - 1;
  }

  /** Makes prepared requests the page's links. @param numbers JSON list of their numbers */
  request(numbers: string): void {
    for (const number of JSON.parse(numbers) as number[]) {
      const { link = null, bytes = 0 } = this.#prepared[number] ?? {};
      if (link === null) continue;
      this.#bytes.links += bytes;
      if (this.end.links.length < LIMITS.links && this.#bytes.links <= LIMITS.linkBytes) this.end.links.push(link);
      else this.#flag('links');
    }
  }

  /** False where the page has logged enough. */
  mayLog(): boolean {
    if (++this.#logged <= LIMITS.logs) return true;
    this.end.unlogged++;
    return false;
  }

  state(key: string, json: string): void {
    if (json.length > LIMITS.stateValueChars)
      throw new ScriptMistake(
        `ctx.state: \`${key}\` has ${json.length} characters; at most ${LIMITS.stateValueChars} are kept`,
      );
    this.#bytes.state += json.length + key.length - (this.end.state[key]?.length ?? 0);
    if (this.#bytes.state > LIMITS.stateChars || Object.keys(this.end.state).length >= LIMITS.stateKeys)
      throw new ScriptMistake(
        `ctx.state: more than ${LIMITS.stateChars} characters, or ${LIMITS.stateKeys} keys, on one page`,
      );
    Object.defineProperty(this.end.state, key, {
      value: json === 'null' ? null : json,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }

  fetch(call: number, text: string): void {
    const given = partsOf(text, 'ctx.fetch', ['url', 'document', 'method', 'headers', 'body', 'form', 'json']);
    const { method = 'GET', headers = {}, body = null } = sentOf(given, 'ctx.fetch');
    const target = this.#scope.call(String(given.url), this.document(Number(given.document)).base);
    if ('code' in target) this.refused.push({ call, ...target });
    else this.#ask(call, 0, { kind: 'fetch', url: target.url, method, headers, body });
  }

  lookup(call: number, text: string): void {
    const { connection, query, params } = JSON.parse(text) as Record<string, unknown>;
    this.#ask(call, 0, {
      kind: 'lookup',
      connection: String(connection).slice(0, 100),
      query: String(query).slice(0, 100_000),
      params: Array.isArray(params) ? params : [],
    });
  }

  read(call: number, text: string): void {
    const { key } = JSON.parse(text) as { key: unknown };
    this.#ask(call, 0, { kind: 'read', key: String(key).slice(0, 200) });
  }

  /** Takes the answer of a fetch. Null: it was redirected, and the next hop is asked for, or refused. */
  answered(call: number, fetched: Fetched, maxRedirects: number): Fetched | null {
    const asked = this.pending.get(call)!;
    this.pending.delete(call);
    const { location } = fetched.headers;
    if (!REDIRECTS.has(fetched.status) || typeof location !== 'string' || asked.question.kind !== 'fetch')
      return fetched;
    const next = this.#scope.redirected(location, fetched, asked.question);
    if ('code' in next) this.refused.push({ call, ...next });
    else if (asked.hops < maxRedirects) this.#ask(call, asked.hops + 1, next);
    else this.refused.push({ call, code: 'too_many_redirects', message: `${maxRedirects} redirects and no end` });
    return null;
  }

  #ask(call: number, hops: number, question: ChildCall['question']): void {
    if (++this.#asked > LIMITS.calls) throw new ScriptMistake(`more than ${LIMITS.calls} calls on one page`);
    this.pending.set(call, { hops, question });
    this.calls.push({ page: this.number, call, question });
  }

  #flag(name: string): void {
    if (!this.end.flags.includes(name)) this.end.flags.push(name);
  }
}

/** What a request is besides its URL; null: a plain GET for `parse`. @throws ScriptMistake */
function extraOf(given: Record<string, unknown>): RequestExtra | null {
  const { url: _, priority: __, ...parts } = given;
  if (Object.keys(parts).length === 0) return null;
  const { callback = DEFAULT_CALLBACK, meta = {}, render = false } = parts;
  if (typeof render !== 'boolean')
    throw new ScriptMistake(`ctx.follow: render is ${short(render)}; expected true or false`);
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta))
    throw new ScriptMistake(`ctx.follow: meta is ${short(meta)}; expected an object`);
  const pass = storedJson(meta);
  if (pass.length > LIMITS.metaChars)
    throw new ScriptMistake(
      `ctx.follow: meta has ${pass.length} characters; at most ${LIMITS.metaChars} are passed on`,
    );
  const extra: RequestExtra = {
    ...sentOf(parts, 'ctx.follow'),
    ...(callback === DEFAULT_CALLBACK ? {} : { page: String(callback) }),
    ...(render ? { render } : {}),
    ...(pass === '{}' ? {} : { pass: JSON.parse(pass) as Record<string, unknown> }),
  };
  return Object.keys(extra).length === 0 ? null : extra;
}

/** An object of options, whose names are checked. @throws ScriptMistake */
function partsOf(text: string, method: string, names: readonly string[]): Record<string, unknown> {
  const given = JSON.parse(text) as Record<string, unknown>;
  for (const name of Object.keys(given))
    if (!names.includes(name))
      throw new ScriptMistake(
        `${method}: \`${name.slice(0, 100)}\` is not known; expected ${names.slice(1).join(', ')}`,
      );
  return given;
}

/** Method, headers and body as they are sent. @throws ScriptMistake */
function sentOf(given: Record<string, unknown>, name: string): Pick<RequestExtra, 'method' | 'headers' | 'body'> {
  const { method, headers, body, form, json } = given;
  if (method !== undefined && !METHODS.includes(method as string))
    throw new ScriptMistake(`${name}: method is ${short(method)}; expected one of ${METHODS.join(', ')}`);
  if (body !== undefined && typeof body !== 'string')
    throw new ScriptMistake(`${name}: body is ${short(body)}; expected a text, or \`json\` instead`);
  for (const [part, value] of Object.entries({ headers, form })) checkTexts(value, part, name);
  const parts = JSON.parse(storedJson({ method, headers, body, form, json })) as RequestParts;
  const [problem] = partProblems(parts, '');
  if (problem !== undefined)
    throw new ScriptMistake(`${name}: ${problem.pointer.slice(1).replace('/', '.')}: ${problem.message}`);
  return sentParts(parts);
}

function checkTexts(value: unknown, part: string, name: string): void {
  if (value === undefined) return;
  if (typeof value !== 'object' || value === null || Object.values(value).some((one) => typeof one !== 'string'))
    throw new ScriptMistake(`${name}: ${part} is ${short(value)}; expected an object of texts`);
}

function short(value: unknown): string {
  return (JSON.stringify(value) ?? 'undefined').slice(0, 80);
}
