import { hash } from 'node:crypto';
import type { NewCrawl } from '../db/crawls.ts';
import type { NewExport } from '../db/exports.ts';
import { cookieProblems } from '../downloader/cookies.ts';
import type { CheckExports } from '../exports/check_tables.ts';
import { exportWarnings } from '../exports/export_warnings.ts';
import { authProblems } from '../model/auth.ts';
import type { PlainStart, StartedWebhook } from '../model/crawl.ts';
import { storedJson } from '../model/extra.ts';
import { headerProblems } from '../model/headers.ts';
import { withDefaults } from '../model/params.ts';
import { proxyProblems } from '../model/proxy.ts';
import type { StartRequest } from '../model/request.ts';
import { hiddenInParams, hiddenInSettings, hiddenInSpider, hiddenInStartUrls, secretParams } from '../model/secrets.ts';
import { DEFAULT_SETTINGS, type Settings, type SettingsInput } from '../model/settings.ts';
import type { Params, Problem, Scope, Spider } from '../model/spider.ts';
import { parseHttpUrl } from '../model/url.ts';
import type { StartInput, StartPlan } from '../parser/start_requests.ts';
import { type Connections, planExports, type RefusesWebhook } from './export_input.ts';

/** A posted crawl, understood: what is to be stored, or what is wrong with it. */
export interface PlannedCrawl {
  crawl: Omit<NewCrawl, 'id'>;
  requests: StartRequest[];
  exports: NewExport[];
  /** What the answer to the start says of the webhooks. */
  webhooks: StartedWebhook[];
  problems: Problem[];
}

/** Works out the first requests off the event loop. */
export type PlanStart = (input: StartInput) => Promise<StartPlan>;

/** What a plan is made with. */
export interface Planning {
  planStart: PlanStart;
  /** Names of the operator's proxies; absent: there are none. */
  proxies?: ReadonlySet<string> | undefined;
  /** The operator's; absent: there are none. */
  connections?: Connections | undefined;
  /** Absent: every address may be called. */
  refusesWebhook?: RefusesWebhook | undefined;
  /** Looks at what exports write into; absent: nothing is looked at. */
  checkExports?: CheckExports | undefined;
}

/** Characters of a crawl's params as JSON. */
const MAX_PARAMS = 64 * 1024;

/**
 * Checks what a schema cannot say (URLs, hosts, headers) and works the start out: effective settings, scope, the first
 * requests. Every problem is given at once.
 */
export async function planCrawl(
  input: PlainStart,
  { planStart, proxies, connections = new Map(), refusesWebhook, checkExports }: Planning,
): Promise<PlannedCrawl> {
  const definition = wellFormed(input.spider ?? {});
  const settings: Settings = { ...DEFAULT_SETTINGS, ...definition.settings, ...wellFormed(input.settings ?? {}) };
  const problems = [
    ...settingsProblems(definition.settings, '/spider/settings', proxies),
    ...settingsProblems(input.settings, '/settings', proxies),
  ];
  const secret = secretParams(definition.params);
  problems.push(
    ...hiddenInSpider(definition, '/spider'),
    ...hiddenInSettings(input.settings, '/settings'),
    ...hiddenInStartUrls(input.startUrls, '/startUrls'),
    ...hiddenInParams(input.params, secret, '/params'),
  );
  if (input.settings?.dedup?.scope === 'spider' && definition.name === undefined) {
    const message = 'what a spider scraped is kept under its name, and this one has none; add "name" to the spider';
    problems.push({ pointer: '/settings/dedup/scope', code: 'no_name', message });
  }
  const params = readParams(input, definition, problems);
  const hosts = scopeHosts(definition.scope, problems);
  const given = wellFormed(input.startUrls ?? null);
  const isGiven = input.params !== undefined;
  const start = await planStart({
    definition: startingParts(definition),
    startUrls: given,
    params,
    isGiven,
    settings,
    hosts,
  });
  const { requests, scopeHosts: inside, warnings } = start;
  const { exports, webhooks, problems: ofExports } = planExports(wellFormed(input), connections, refusesWebhook);
  if (ofExports.length === 0 && checkExports !== undefined && exports.length > 0)
    ofExports.push(...(await checkExports(wellFormed(input.exports ?? []))));
  const startUrls = given ?? definition.startUrls ?? [];
  const skipped = requests.filter((request) => request.reason !== null).length;
  const crawl = {
    definition,
    version: input.version ?? null,
    settings,
    startUrls,
    params,
    secretParams: secret,
    scopeHosts: inside,
    labels: wellFormed(input.labels ?? {}),
    warnings: [...exportWarnings(definition, input), ...warnings],
    startHash: settings.dedup.scope === 'spider' ? startHash(definition, startUrls, params, settings) : null,
    queued: requests.length - skipped,
    skipped,
  };
  return { crawl, requests, exports, webhooks, problems: [...problems, ...start.problems, ...ofExports] };
}

/** What a schema cannot say of settings. @param proxies names of the operator's; absent: there are none */
export function settingsProblems(
  { headers, auth = [], proxy = null, cookies, initialCookies }: SettingsInput = {},
  at: string,
  proxies: ReadonlySet<string> = new Set(),
): Problem[] {
  return [
    ...headerProblems(headers, `${at}/headers`),
    ...authProblems(auth, `${at}/auth`),
    ...proxyProblems(proxy, `${at}/proxy`, proxies),
    ...cookieProblems(initialCookies, `${at}/initialCookies`),
    ...(cookies === false && initialCookies !== undefined && initialCookies.length > 0 ? [unsent(at)] : []),
  ];
}

function unsent(at: string): Problem {
  const message = '`cookies` is false, so that none of these would be sent; leave one of the two away';
  return { pointer: `${at}/initialCookies`, code: 'conflict', message };
}

/** Crawls of one spider that set out from the same, and go as far, come to the same pages. */
function startHash(
  { sitemaps = [] }: Spider,
  startUrls: readonly unknown[],
  params: Params,
  { maxDepth, robots }: Settings,
): string {
  return hash('sha256', JSON.stringify([startUrls, sitemaps, params, maxDepth, robots]), 'hex').slice(0, 32);
}

/** What a crawl's start is worked out of: fields, steps and samples, which may be a megabyte, are not sent to a thread for it. */
function startingParts({ description: _, pipeline: _p, samples: _s, pages, script, ...rest }: Spider): Spider {
  return {
    ...rest,
    ...(pages === undefined ? {} : { pages: pages.map(({ name }) => (name === undefined ? {} : { name })) }),
    ...(script === undefined ? {} : { script: '' }),
  };
}

/** The params as they are given, with the schema's defaults. Whether they fit the schema is asked elsewhere, off the loop. */
function readParams(input: PlainStart, definition: Spider, problems: Problem[]): Params {
  const params = withDefaults(definition.params, wellFormed(input.params ?? {}));
  const length = JSON.stringify(params).length;
  if (length <= MAX_PARAMS) return params;
  const message = `found ${length} characters with the defaults; expected at most ${MAX_PARAMS}`;
  problems.push({ pointer: '/params', code: 'too_long', message });
  return {};
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
    if (parsed !== null && parsed.port === '' && !name.includes('*')) return parsed.hostname.replace(/([^.])\.$/, '$1');
    const message = `found ${JSON.stringify(name)}; expected a host name alone, as books.example; for its subdomains set \`subdomains\``;
    problems.push({ pointer: `/spider/scope/hosts/${i}`, code: 'bad_host', message });
    return name;
  });
}
