import { readSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { headerOf } from '../../model/response.ts';
import type { ParsePlanInput } from '../../model/spider.ts';
import type { Steps } from '../steps.ts';
import { encodeFrame, FrameReader } from './frames.ts';
import { GuestPage } from './guest_page.ts';
import { type EndedPage, type FromChild, LIMITS, type ToChild, type Turn } from './protocol.ts';
import { GuestScope } from './scope.ts';
import { type HostFunction, ScriptMistake, type TurnEnd, Vm } from './vm.ts';

// The entry of a script's process: one script, some pages of one crawl at a time. It reads a message, lets the script run
// until it waits for something or is done, and answers with all that came of it. There is no event loop: nothing here may
// happen by itself.

const IN = 0;
const OUT = 1;
const CHUNK = 256 * 1024;
const MAX_MESSAGE = 1024 * 1024 * 1024;
const DESCRIBE_MS = 1000;
/** A page that is dropped leaves jobs at most. */
const DROP_MS = 100;
/** So much of its memory in use makes memory the reason why a page came to no end. */
const FULL = 0.8;

let plan: ParsePlanInput | null = null;
let scope: GuestScope | null = null;
let steps: Steps | null = null;
let explain = false;
/** The script: not yet evaluated, running, or why it cannot. */
let script: 'new' | 'running' | { failure: string } = 'new';
const pages = new Map<number, GuestPage>();
const vm = await Vm.load(functions());

send({ kind: 'ready' }, []);
listen();

function listen(): void {
  const reader = new FrameReader(MAX_MESSAGE);
  const buffer = Buffer.allocUnsafe(CHUNK);
  for (let read = readSync(IN, buffer); read > 0; read = readSync(IN, buffer))
    for (const { header, segments } of reader.push(Buffer.from(buffer.subarray(0, read))))
      answer(header as ToChild, segments[0] ?? new Uint8Array(0));
}

function answer(message: ToChild, segment: Uint8Array): void {
  switch (message.kind) {
    case 'open':
      open(message.plan, message.explain);
      return;
    case 'page': {
      const page = new GuestPage(message.page, message.input, scope!, steps, explain);
      pages.set(page.number, page);
      reply(page, (open) => turn(open, () => begin(open, segment)));
      return;
    }
    case 'result': {
      const page = pages.get(message.page);
      reply(page?.pending.has(message.call) ? page : null, (open) => turn(open, () => settle(open, message, segment)));
      return;
    }
    case 'drop':
      pages.delete(message.page);
      forget(message.page);
      return;
    case 'describe':
      describe(message.script);
  }
}

function open(given: ParsePlanInput, explained: boolean): void {
  plan = given;
  explain = explained;
  scope = new GuestScope(given, true);
  try {
    steps = (given.definition.pipeline ?? []).length === 0 ? null : pipeline().compileSteps(given.definition);
  } catch (error) {
    script = { failure: `the pipeline does not compile: ${(error as Error).message}` };
  }
  vm.limitMemory(given.settings.scriptMemoryMb);
  answerTurn(null, null);
}

/** Slow to load, so only crawls with a pipeline have it. */
function pipeline(): typeof import('../steps.ts') {
  return createRequire(import.meta.url)('../steps.js') as typeof import('../steps.ts');
}

/** Ends what is left of a page that nobody waits for. */
function forget(number: number): void {
  const end = vm.turn(DROP_MS, () => vm.call('drop', number));
  answerTurn(null, end.interrupted ? 'it did not end what was left of a page' : end.unfit);
}

function turn(page: GuestPage, work: () => void): TurnEnd {
  const left = Math.max(1, plan!.settings.parseTimeoutMs - page.cpuMs);
  const end = vm.turn(left, () => guarded(page, work), refuse);
  page.cpuMs += end.cpuMs;
  return end;
}

/** Tells the guest of calls that came to nothing. @returns false where there were none */
function refuse(): boolean {
  let any = false;
  for (const { refused } of pages.values())
    for (const { call, code, message } of refused.splice(0)) {
      any = true;
      vm.call('settle', call, 0, JSON.stringify({ code, message }));
    }
  return any;
}

/** A mistake of the script that surfaces here ends its page. */
function guarded(page: GuestPage, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof ScriptMistake)) throw error;
    fail(page, 'script_error', error.message);
  }
}

function begin(page: GuestPage, body: Uint8Array): void {
  adopt();
  const { url, status, headers, contentType, depth, callback, meta } = page.input;
  const { document, root } = page.addDocument({ bytes: shared(body), contentType, url }, plan!.settings.parser);
  const { params, crawlId } = plan!;
  const response = { document, root, url, status, headers };
  vm.call('begin', page.number, JSON.stringify({ callback, depth, meta, params, crawlId, response }));
}

/** Evaluates the script at its first page, in that page's time. @throws ScriptMistake */
function adopt(): void {
  if (script === 'new') {
    script = { failure: 'the script did not load in the time of its first page' };
    try {
      vm.adopt(plan!.definition.script ?? '');
      script = 'running';
    } catch (error) {
      if (error instanceof ScriptMistake) script = { failure: error.message };
      throw error;
    }
  }
  if (script !== 'running') throw new ScriptMistake(script.failure);
}

function settle(page: GuestPage, { call, result }: Extract<ToChild, { kind: 'result' }>, segment: Uint8Array): void {
  if (!result.ok) {
    page.pending.delete(call);
    vm.call('settle', call, 0, JSON.stringify({ code: result.code, message: result.message }));
  } else if (result.fetched === null) {
    page.pending.delete(call);
    vm.call('settle', call, 1, Buffer.from(segment).toString('utf8').replaceAll('\0', ''));
  } else {
    settleFetch(page, call, result.fetched, segment);
  }
}

function settleFetch(
  page: GuestPage,
  call: number,
  head: { url: string; status: number; headers: Record<string, string | string[]> },
  body: Uint8Array,
): void {
  const fetched = page.answered(call, head, plan!.settings.maxRedirects);
  if (fetched === null) return;
  if (!page.admitsBody(body.length)) {
    page.refused.push({
      call,
      code: 'too_large',
      message: `more than ${LIMITS.fetchedBytes} bytes fetched on one page`,
    });
    return;
  }
  const contentType = headerOf(fetched.headers, 'content-type') ?? null;
  const numbers = page.addDocument({ bytes: shared(body), contentType, url: fetched.url }, plan!.settings.parser);
  vm.call('settle', call, 1, JSON.stringify({ ...numbers, ...fetched }));
}

function describe(source: string): void {
  let description: Turn['description'] = null;
  const end = vm.turn(DESCRIBE_MS, () => {
    try {
      description = { spider: JSON.parse(vm.adopt(source)) as unknown };
    } catch (error) {
      if (!(error instanceof ScriptMistake)) throw error;
      description = { failure: error.message };
    }
  });
  if (end.interrupted) description = { failure: `it used more than ${DESCRIBE_MS} ms of CPU before it was loaded` };
  send({ kind: 'turn', calls: [], ended: [], description, unfit: end.unfit }, []);
}

/** Lets a page have its turn; it is blamed for what goes wrong in it. Null: the page has ended meanwhile. */
function reply(page: GuestPage | null, run: (page: GuestPage) => TurnEnd): void {
  if (page === null) {
    answerTurn(null, null);
    return;
  }
  const { interrupted, unfit } = run(page);
  if (interrupted) {
    // An interruption inside the engine can reach the script as an error that means nothing («not a function»).
    if (page.end.failure !== null) page.hasEnded = false;
    fail(page, 'parse_timeout', overTime(page));
  } else if (unfit !== null) fail(page, 'script_error', `its virtual machine broke: ${unfit}`);
  answerTurn(page, unfit);
}

/** Answers a message with all that came of it. */
function answerTurn(page: GuestPage | null, broken: string | null): void {
  let unfit = broken;
  if (page !== null) endStuckPages();
  const ended = pages
    .values()
    .filter(({ hasEnded }) => hasEnded)
    .toArray();
  const calls = pages
    .values()
    .filter(({ hasEnded }) => !hasEnded)
    .flatMap((open) => open.calls.splice(0))
    .toArray();
  for (const { number } of ended) {
    pages.delete(number);
    if (unfit === null) unfit = vm.turn(DROP_MS, () => vm.call('drop', number)).unfit;
  }
  const items = ended.flatMap((one) => one.finish());
  const ends = ended.map((one): EndedPage => ({ ...one.end, cpuMs: one.cpuMs }));
  send({ kind: 'turn', calls, ended: ends, description: null, unfit }, items);
}

function overTime({ input }: GuestPage): string {
  return `callback \`${input.callback}\` used more than ${plan!.settings.parseTimeoutMs} ms of CPU (parseTimeoutMs)`;
}

/** With no call under way and no job due, what still waits waits for ever. */
function endStuckPages(): void {
  const stuck = pages
    .values()
    .filter(({ hasEnded }) => !hasEnded)
    .toArray();
  if (stuck.length === 0 || stuck.some(({ pending }) => pending.size > 0)) return;
  const limit = plan!.settings.scriptMemoryMb;
  const isFull = vm.usedBytes > limit * 1024 * 1024 * FULL;
  for (const page of stuck)
    if (isFull)
      fail(page, 'parse_memory', `callback \`${page.input.callback}\` needs more than ${limit} MiB (scriptMemoryMb)`);
    else
      fail(
        page,
        'script_error',
        `callback \`${page.input.callback}\` waits for a promise that nothing settles: is a call missing?`,
      );
}

/** Ends a page without what it has handed out. */
function fail(page: GuestPage, reason: NonNullable<EndedPage['failure']>['reason'], message: string): void {
  if (page.hasEnded) return;
  page.hasEnded = true;
  Object.assign(page.end, { failure: { reason, message }, items: [], links: [], dropped: {}, state: {}, flags: [] });
}

/** What the guest is offered; `guest/host.ts` describes it. */
function functions(): Record<string, HostFunction> {
  const page = (number: number): GuestPage => {
    const open = pages.get(number);
    if (open === undefined || open.hasEnded) throw new ScriptMistake('this page has ended');
    return open;
  };
  return {
    select: {
      takes: 'nsss',
      work: (number: number, scopes: string, language: string, selector: string) =>
        page(number).select(scopes, language, selector),
    },
    values: {
      takes: 'nsssssn',
      work: (
        number: number,
        scopes: string,
        language: string,
        selector: string,
        what: string,
        name: string,
        first: number,
      ) => page(number).values(scopes, language, selector, what, name, first),
    },
    jsonLd: { takes: 'nn', work: (number: number, document: number) => page(number).document(document).jsonLd },
    text: { takes: 'nn', work: (number: number, document: number) => page(number).document(document).text },
    join: {
      takes: 'nns',
      work: (number: number, document: number, href: string) =>
        URL.parse(href, page(number).document(document).base)?.href,
    },
    follow: {
      takes: 'nns',
      work: (number: number, document: number, parts: string) => page(number).prepare(document, parts),
    },
    emit: {
      takes: 'nsss',
      // A line that comes after its page's end is lost: `console` cannot tell whose code is running.
      work: (number: number, kind: string, name: string, text: string) =>
        kind === 'log' && (pages.get(number)?.hasEnded ?? true) ? undefined : emitted(page(number), kind, name, text),
    },
  };
}

function emitted(page: GuestPage, kind: string, name: string, text: string): undefined {
  switch (kind) {
    case 'item':
      takeItem(page, name, text);
      return;
    case 'dropped':
      page.dropped(name.slice(0, 100));
      return;
    case 'log':
      if (page.mayLog()) log(page.number, name, text);
      return;
    case 'state':
      page.state(name, text);
      return;
    case 'fetch':
      page.fetch(Number(name), text);
      return;
    case 'lookup':
      page.lookup(Number(name), text);
      return;
    case 'read':
      page.read(Number(name), text);
      return;
    case 'ended':
      page.request(text);
      page.hasEnded = true;
      return;
    case 'failed':
      fail(page, name === 'memory' ? 'parse_memory' : 'script_error', memoryMessage(page, name) ?? text);
      return;
    default:
      throw new ScriptMistake(`"${kind.slice(0, 50)}" cannot be handed out`);
  }
}

/** An item whose step fails, and whose `onError` says so, fails its page. */
function takeItem(page: GuestPage, type: string, json: string): void {
  try {
    page.item(type, json);
  } catch (error) {
    if (!(error instanceof pipeline().StepFailed)) throw error;
    fail(page, 'pipeline_error', error.message);
    throw new ScriptMistake(error.message);
  }
}

function memoryMessage({ input }: GuestPage, name: string): string | null {
  if (name !== 'memory') return null;
  return `callback \`${input.callback}\` needs more than ${plan!.settings.scriptMemoryMb} MiB (scriptMemoryMb)`;
}

function log(page: number, level: string, message: string): void {
  const known = level === 'debug' || level === 'warn' || level === 'error' ? level : 'info';
  send({ kind: 'log', page, level: known, message: message.slice(0, LIMITS.logChars) }, []);
}

function shared(bytes: Uint8Array): SharedArrayBuffer {
  const copy = new SharedArrayBuffer(bytes.length);
  new Uint8Array(copy).set(bytes);
  return copy;
}

function send(message: FromChild, segments: Uint8Array[]): void {
  for (const piece of encodeFrame(message, segments))
    for (let at = 0; at < piece.length; ) at += writeSync(OUT, piece, at);
}
