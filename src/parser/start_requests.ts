import { extraText, MAX_EXTRA, requestFp } from '../model/extra.ts';
import { nearest } from '../model/nearest.ts';
import { MAX_PROBLEMS } from '../model/problems.ts';
import { rankOf } from '../model/rank.ts';
import type { RequestExtra, StartRequest } from '../model/request.ts';
import { partProblems, sentParts } from '../model/request_parts.ts';
import type { Settings } from '../model/settings.ts';
import type { Params, Problem, Spider, StartUrl } from '../model/spider.ts';
import { canonicalize, parseHttpUrl, type UrlRules, urlRules } from '../model/url.ts';
import { paramProblems } from './param_problems.ts';
import { type StartObject, StartTemplates } from './start_templates.ts';
import { unsentWarnings } from './start_warnings.ts';
import { trapOf } from './traps.ts';

/** Start requests of one crawl, lists of params filled in. */
const MAX_STARTS = 10_000;
/** Characters of their URLs and extras together: a short list can make much of a long template. */
const MAX_START_CHARS = 4 * 1024 * 1024;
const MAX_WARNINGS = 100;
const LONG_HOST = 'its host name is longer than 253 characters';

/** What the first requests of a crawl are made of; JSON that PostgreSQL holds. */
export interface StartInput {
  /** Of its pages the names count, and of its script that there is one. */
  definition: Spider;
  /** The crawl's own; null: the spider's count. */
  startUrls: StartUrl[] | null;
  /** With the defaults of the spider's schema. */
  params: Params;
  /** Whether the crawl gave params. */
  isGiven: boolean;
  settings: Settings;
  /** Of an explicit scope; null: those of the start URLs and sitemaps are the scope. */
  hosts: string[] | null;
}

/** The first requests, or what is wrong with what they are made of; pointers begin at the posted crawl. */
export interface StartPlan {
  requests: StartRequest[];
  scopeHosts: string[];
  warnings: string[];
  problems: Problem[];
}

interface Start {
  what: 'start URL' | 'sitemap' | 'robots.txt';
  url: URL;
  priority: number;
  extra: RequestExtra | null;
}

/**
 * The first requests of a crawl: start URLs, then sitemaps, then for `auto` the robots.txt of each start URL's origin, each
 * once. Those outside the scope are skipped, with a warning. The params are checked as well.
 *
 * Ten thousand URLs, or lists of params in long templates, are a second's work: to be run off the event loop.
 */
export function planStart(input: StartInput): StartPlan {
  const problems: Problem[] = [];
  const starts = readStarts(input, problems);
  const isSaid = new Set(problems.map(({ pointer }) => pointer));
  problems.push(...schemaProblems(input).filter(({ pointer }) => !isSaid.has(pointer)));
  const rules = urlRules(input.settings);
  const scopeHosts = input.hosts ?? hostsOf(starts, rules);
  const scope = { hosts: new Set(scopeHosts), subdomains: input.definition.scope?.subdomains ?? false };
  const requests = new Map<string, StartRequest>();
  const warnings: string[] = [];
  for (const start of starts) {
    const request = requestOf(start, scope, rules, input.settings, requests.size);
    if (requests.has(request.fp)) continue;
    requests.set(request.fp, request);
    if (request.reason !== null && warnings.length < MAX_WARNINGS) {
      const why = request.reason === 'trap' ? `looks like a trap (${request.detail})` : 'is outside the scope';
      warnings.push(`the ${start.what} ${start.url.href} ${why}`);
    }
  }
  const hosts = input.hosts ?? starts.map(({ url }) => url.hostname);
  warnings.push(...unsentWarnings(input.settings, input.definition.scope, hosts));
  return { requests: [...requests.values()], scopeHosts, warnings: warnings.slice(0, MAX_WARNINGS), problems };
}

function schemaProblems({ definition, params }: StartInput): Problem[] {
  if (definition.params === undefined) return [];
  return paramProblems(definition.params, params).map((one) => ({ ...one, pointer: `/params${one.pointer}` }));
}

function readStarts(input: StartInput, problems: Problem[]): Start[] {
  const { definition, startUrls } = input;
  const given = startUrls ?? definition.startUrls ?? [];
  const sitemaps = definition.sitemaps ?? [];
  const reader = new StartReader(input, problems);
  const at = startUrls === null ? '/spider/startUrls' : '/startUrls';
  for (const [i, start] of given.entries())
    if (typeof start === 'string') reader.read({ url: start }, `${at}/${i}`, `${at}/${i}`, 'start URL');
    else reader.read(start, `${at}/${i}`, `${at}/${i}/url`, 'start URL');
  const origins = new Set(reader.starts.map(({ url }) => url.origin));
  for (const [i, url] of sitemaps.entries())
    if (url !== 'auto') reader.read({ url }, `/spider/sitemaps/${i}`, `/spider/sitemaps/${i}`, 'sitemap');
  if (sitemaps.includes('auto')) for (const origin of origins) reader.addRobots(origin);
  const needed = sitemaps.length === 0 ? 'expected at least one, here or in the spider' : AUTO_NEEDS;
  if (given.length === 0 && (sitemaps.length === 0 || sitemaps.includes('auto')))
    problems.push({ pointer: '/startUrls', code: 'required', message: `no start URL; ${needed}` });
  else if (reader.isEmpty) problems.push({ pointer: '/params', code: 'too_short', message: EMPTY_LISTS });
  return reader.starts;
}

const AUTO_NEEDS = 'the sitemap `auto` asks the robots.txt of their hosts, so it needs at least one';
const EMPTY_LISTS = 'every start URL names a list that is empty, so there is nothing to start with';

const RENDER_ELSEWHERE =
  'found `render` without a script; expected it at the page entry that reads the page: `pages[].render`';

/** Reads start URLs one by one, within the bounds on all together. */
class StartReader {
  readonly starts: Start[] = [];
  readonly #input: StartInput;
  readonly #problems: Problem[];
  readonly #templates: StartTemplates;
  #chars = 0;
  #count = 0;
  #isFull = false;

  constructor(input: StartInput, problems: Problem[]) {
    this.#input = input;
    this.#problems = problems;
    this.#templates = new StartTemplates(input.definition.params, input.params, input.isGiven);
  }

  /** Nothing was read, and nothing was wrong. */
  get isEmpty(): boolean {
    return this.starts.length === 0 && this.#problems.length === 0;
  }

  /** @param at its pointer. @param urlAt the pointer of its URL */
  read(given: StartObject, at: string, urlAt: string, what: Start['what']): void {
    if (this.#isFull || this.#problems.length >= MAX_PROBLEMS) return;
    const { count, starts, problems } = this.#templates.fill(given, urlAt);
    this.#problems.push(...problems);
    // Of the spider's own start URLs its check says it.
    if (this.#input.startUrls !== null)
      this.#problems.push(...pageProblems(given.page, this.#input.definition, `${at}/page`));
    this.#count += count;
    if (this.#count > MAX_STARTS) {
      this.#refuse(
        at,
        `with the lists of params there are ${this.#count} start requests; expected at most ${MAX_STARTS}`,
      );
      return;
    }
    for (const start of starts) if (!this.#add(start, at, urlAt, what)) return;
  }

  addRobots(origin: string): void {
    this.starts.push({
      what: 'robots.txt',
      url: new URL('/robots.txt', origin),
      priority: 0,
      extra: { kind: 'robots' },
    });
  }

  /** @returns false where it is wrong: so would be its siblings, which differ in a param alone */
  #add(start: StartObject, at: string, urlAt: string, what: Start['what']): boolean {
    const { url: text, priority = 0, page, pass, render = false } = start;
    const parsed = hasLongHost(text) ? null : parseHttpUrl(text);
    const wrong = hasLongHost(text) ? LONG_HOST : urlProblem(parsed, this.#input.settings);
    if (wrong !== null)
      this.#problems.push({
        pointer: urlAt,
        code: 'bad_url',
        message: `found ${quote(withoutSecret(text, parsed))}; ${wrong}`,
      });
    const problems = partProblems(start, at);
    if (render && this.#input.definition.script === undefined)
      problems.push({ pointer: `${at}/render`, code: 'conflict', message: RENDER_ELSEWHERE });
    this.#problems.push(...problems);
    if (parsed === null || wrong !== null || problems.length > 0) return false;
    const extra: RequestExtra = {
      ...sentParts(start),
      ...(what === 'sitemap' ? { kind: 'sitemap' } : {}),
      ...(page === undefined ? {} : { page }),
      ...(render ? { render } : {}),
      ...(pass === undefined ? {} : { pass }),
    };
    const size = extraText(extra)?.length ?? 0;
    this.#chars += size + text.length;
    if (size > MAX_EXTRA) this.#refuse(at, `it takes ${size} characters beside its URL; expected at most ${MAX_EXTRA}`);
    else if (this.#chars > MAX_START_CHARS)
      this.#refuse(
        at,
        `up to here the start requests take ${this.#chars} characters; expected at most ${MAX_START_CHARS}`,
      );
    this.starts.push({ what, url: parsed, priority, extra: size === 0 ? null : extra });
    return !this.#isFull;
  }

  #refuse(pointer: string, message: string): void {
    this.#isFull = true;
    this.#problems.push({ pointer, code: 'too_long', message });
  }
}

/** A script's callbacks are known to the script alone. */
function pageProblems(page: string | undefined, { pages = [], script }: Spider, pointer: string): Problem[] {
  if (page === undefined || script !== undefined || pages.some(({ name }) => name === page)) return [];
  const names = pages.flatMap(({ name }) => name ?? []);
  const near = nearest(page, names);
  const hint = near !== null ? `did you mean ${near}?` : `known names: ${names.join(', ') || 'none'}`;
  return [{ pointer, code: 'unknown_name', message: `no page entry has the name ${page}; ${hint}` }];
}

/** Asked before parsing: punycode is quadratic, a host of 4,000 ideographs takes 40 ms, and a body may hold eighty. */
function hasLongHost(text: string): boolean {
  return /^[^:]*:[/\\]*[^/\\?#]{301}/.test(text.replace(/[\t\n\r]/g, ''));
}

function urlProblem(parsed: URL | null, settings: Settings): string | null {
  if (parsed === null) return 'expected an absolute http or https URL, as https://books.example/';
  if (parsed.username !== '' || parsed.password !== '')
    return 'a URL cannot carry a user name or password: give them in `settings.auth`';
  if (parsed.hostname.length > 253) return LONG_HOST;
  if (parsed.href.length > settings.maxUrlLength)
    return `it has ${parsed.href.length} characters; maxUrlLength is ${settings.maxUrlLength}`;
  return null;
}

/** As an error may show it. */
function withoutSecret(text: string, parsed: URL | null): string {
  if (parsed === null || (parsed.username === '' && parsed.password === '')) return text;
  return `${parsed.protocol}//…@${parsed.host}${parsed.pathname}`;
}

function quote(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

/** Without a scope: the hosts of the start URLs, each with and without `www.`. */
function hostsOf(starts: readonly Start[], rules: UrlRules): string[] {
  const hosts = new Set<string>();
  for (const { url } of starts) {
    const { host } = canonicalize(url, rules);
    const bare = host.startsWith('www.') ? host.slice(4) : host;
    hosts.add(host);
    hosts.add(bare);
    if (/[a-z]/.test(bare) && bare.includes('.') && !bare.startsWith('[')) hosts.add(`www.${bare}`);
  }
  return [...hosts];
}

function requestOf(
  { url: parsed, priority, extra }: Start,
  scope: { hosts: ReadonlySet<string>; subdomains: boolean },
  rules: UrlRules,
  settings: Settings,
  seq: number,
): StartRequest {
  const { url, origin, host } = canonicalize(parsed, rules);
  const inside = scope.hosts.has(host) || (scope.subdomains && parentsOf(host).some((one) => scope.hosts.has(one)));
  const trap = inside ? trapOf(url, settings) : null;
  const reason = inside ? (trap === null ? null : 'trap') : 'offsite';
  return {
    url,
    fp: requestFp(url, extra),
    origin: reason === null ? origin : null,
    seq,
    rank: rankOf(settings.order, priority, 0, seq),
    priority,
    extra: extraText(extra),
    reason,
    detail: inside ? trap : `the host ${host} is not in spider.scope.hosts`,
  };
}

function parentsOf(host: string): string[] {
  const labels = host.split('.');
  return labels.slice(1).map((_, i) => labels.slice(i + 1).join('.'));
}
