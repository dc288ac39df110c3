import type { NewCrawl } from '../db/crawls.ts';
import type { StartRequest } from '../db/ledger.ts';
import type { PlainStart } from '../model/crawl.ts';
import { storedJson } from '../model/extra.ts';
import { headerProblems } from '../model/headers.ts';
import { rankOf } from '../model/rank.ts';
import { DEFAULT_SETTINGS, type Settings } from '../model/settings.ts';
import type { Problem, Scope } from '../model/spider.ts';
import { canonicalize, parseHttpUrl } from '../model/url.ts';

/** A posted crawl, understood: what is to be stored, or what is wrong with it. */
export interface PlannedCrawl {
  crawl: Omit<NewCrawl, 'id'>;
  requests: StartRequest[];
  problems: Problem[];
}

const LONG_HOST = 'its host name is longer than 253 characters';

/**
 * Checks what a schema cannot say (URLs, hosts, headers) and works the start out: effective settings, scope, the first
 * requests. Every problem is given at once. Pure.
 */
export function planCrawl(input: PlainStart): PlannedCrawl {
  const definition = wellFormed(input.spider ?? {});
  const settings: Settings = { ...DEFAULT_SETTINGS, ...definition.settings, ...wellFormed(input.settings ?? {}) };
  const problems = [
    ...headerProblems(definition.settings?.headers, '/spider/settings/headers'),
    ...headerProblems(input.settings?.headers, '/settings/headers'),
  ];
  const hosts = scopeHosts(definition.scope, problems);
  const { urls, startUrls } = readStartUrls(input, settings, problems);
  const inScope = { hosts: hosts ?? hostsOf(urls), subdomains: definition.scope?.subdomains ?? false };
  const { requests, warnings } = startRequests(urls, inScope, settings);
  const skipped = requests.filter((request) => request.reason !== null).length;
  const labels = wellFormed(input.labels ?? {});
  const queued = requests.length - skipped;
  const version = input.version ?? null;
  const crawl = {
    definition,
    version,
    settings,
    startUrls,
    scopeHosts: inScope.hosts,
    labels,
    warnings,
    queued,
    skipped,
  };
  return { crawl, requests, problems };
}

/** PostgreSQL's text holds neither NUL nor half a surrogate pair: each becomes U+FFFD, in keys as well. */
export function wellFormed<T>(value: T): T {
  return JSON.parse(storedJson(value)) as T;
}

/** The hosts of an explicit scope, as URLs have them; null where the scope names none. */
function scopeHosts(scope: Scope | undefined, problems: Problem[]): string[] | null {
  if (scope?.hosts === undefined) return null;
  return scope.hosts.map((name, i) => {
    const parsed = /[/?#@\\\s]/.test(name) ? null : parseHttpUrl(`http://${name}/`);
    if (parsed !== null && parsed.port === '' && !name.includes('*')) return parsed.hostname;
    const message = `found ${JSON.stringify(name)}; expected a host name alone, as books.example; for its subdomains set \`subdomains\``;
    problems.push({ pointer: `/spider/scope/hosts/${i}`, code: 'bad_host', message });
    return name;
  });
}

interface StartUrl {
  given: string;
  parsed: URL;
}

function readStartUrls(input: PlainStart, settings: Settings, problems: Problem[]) {
  const at = input.startUrls === undefined ? '/spider/startUrls' : '/startUrls';
  const given = (input.startUrls ?? input.spider?.startUrls ?? []).map((one) =>
    typeof one === 'string' ? one : one.url,
  );
  if (given.length === 0)
    problems.push({
      pointer: '/startUrls',
      code: 'required',
      message: 'no start URL; expected at least one, here or in the spider',
    });
  const urls: StartUrl[] = [];
  for (const [i, text] of given.entries()) {
    const parsed = hasLongHost(text) ? null : parseHttpUrl(text);
    const wrong = hasLongHost(text) ? LONG_HOST : urlProblem(parsed, settings);
    if (wrong !== null)
      problems.push({ pointer: `${at}/${i}`, code: 'bad_url', message: `found ${quote(text)}; ${wrong}` });
    else if (parsed !== null) urls.push({ given: text, parsed });
  }
  return { urls, startUrls: wellFormed(given) };
}

/** Asked before parsing: punycode is quadratic, a host of 4,000 ideographs takes 40 ms, and a body may hold eighty. */
function hasLongHost(text: string): boolean {
  return /^[^:]*:[/\\]*[^/\\?#]{301}/.test(text.replace(/[\t\n\r]/g, ''));
}

function urlProblem(parsed: URL | null, settings: Settings): string | null {
  if (parsed === null) return 'expected an absolute http or https URL, as https://books.example/';
  if (parsed.username !== '' || parsed.password !== '') return 'a URL cannot carry a user name or password';
  if (parsed.hostname.length > 253) return LONG_HOST;
  if (parsed.href.length > settings.maxUrlLength)
    return `it has ${parsed.href.length} characters; maxUrlLength is ${settings.maxUrlLength}`;
  return null;
}

function quote(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

/** Without a scope: the hosts of the start URLs, each with and without `www.`. */
function hostsOf(urls: readonly StartUrl[]): string[] {
  const hosts = new Set<string>();
  for (const { parsed } of urls) {
    const bare = parsed.hostname.startsWith('www.') ? parsed.hostname.slice(4) : parsed.hostname;
    hosts.add(parsed.hostname);
    hosts.add(bare);
    if (/[a-z]/.test(bare) && bare.includes('.') && !bare.startsWith('[')) hosts.add(`www.${bare}`);
  }
  return [...hosts];
}

function startRequests(urls: readonly StartUrl[], scope: { hosts: string[]; subdomains: boolean }, settings: Settings) {
  const hosts = new Set(scope.hosts);
  const requests = new Map<string, StartRequest>();
  const warnings: string[] = [];
  for (const { given, parsed } of urls) {
    const { url, fp, origin, host } = canonicalize(parsed, settings.dropParams);
    if (requests.has(fp)) continue;
    const inside = hosts.has(host) || (scope.subdomains && parentsOf(host).some((parent) => hosts.has(parent)));
    if (!inside && warnings.length < 100) warnings.push(wellFormed(`the start URL ${given} is outside the scope`));
    requests.set(fp, {
      url,
      fp,
      origin: inside ? origin : null,
      seq: requests.size,
      rank: rankOf(settings.order, 0, 0, requests.size),
      priority: 0,
      extra: null,
      reason: inside ? null : 'offsite',
      detail: inside ? null : `the host ${host} is not in spider.scope.hosts`,
    });
  }
  return { requests: [...requests.values()], warnings };
}

function parentsOf(host: string): string[] {
  const labels = host.split('.');
  return labels.slice(1).map((_, i) => labels.slice(i + 1).join('.'));
}
