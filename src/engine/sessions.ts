import type { Sql } from '../db/client.ts';
import { isTooOld, readCookies } from '../db/crawl_cookies.ts';
import { CookieJar } from '../downloader/cookies.ts';
import type { CrawlRun } from '../frontier/crawl_run.ts';
import type { Caller } from '../frontier/host.ts';
import { authorizations } from '../model/auth.ts';
import type { Settings } from '../model/settings.ts';
import { CpuWatch } from './cpu_watch.ts';
import { baseHeaders } from './headers.ts';

/** What the fetches of one crawl, or of one preview, share on this node. */
export interface Session {
  /** Of a preview: a crawl that does not exist. */
  readonly crawlId: string;
  readonly settings: Settings;
  /** In whose name its calls wait at hosts. */
  readonly caller: Caller;
  /** Null: the crawl keeps no cookies. */
  readonly jar: CookieJar | null;
  /** Calls since the last outcome that told of them: `fetch`, `fetch failed`, `lookup`, `lookup failed`. */
  calls: Record<string, number>;
  readonly watch: CpuWatch;
  /** Whether its pages are read with their headers. */
  readonly wantsHeaders: boolean;
  isInside(hostname: string): boolean;
  /**
   * The headers of a request for this URL, but for cookies and its own. Outside the scope (a call of a script, a redirect
   * that the scope lets out) they are without the crawl's `headers`, which may hold secrets of its sites.
   */
  headersTo(url: string): Readonly<Record<string, string>>;
}

/** @param jar of the session that this one goes on for, where there is one */
export function newSession(
  crawl: Pick<CrawlRun, 'id' | 'settings' | 'scopeHosts' | 'definition'>,
  former?: Session,
): Session {
  const { id, settings } = crawl;
  const hosts = new Set(crawl.scopeHosts);
  const subdomains = crawl.definition.scope?.subdomains ?? false;
  const isInside = (host: string) =>
    hosts.has(host) || (subdomains && parentsOf(host).some((parent) => hosts.has(parent)));
  return {
    crawlId: id,
    settings,
    caller: { id: `calls of ${id}`, settings },
    jar: former?.jar ?? (settings.cookies ? new CookieJar() : null),
    calls: former?.calls ?? {},
    watch: former?.watch ?? new CpuWatch(settings),
    wantsHeaders: crawl.definition.script !== undefined || JSON.stringify(crawl.definition).includes('"header:'),
    isInside,
    headersTo: headersOf(settings, isInside),
  };
}

function headersOf(settings: Settings, isInside: (host: string) => boolean): Session['headersTo'] {
  const inside = baseHeaders(settings);
  const outside = baseHeaders({ ...settings, headers: {} });
  const known = authorizations(settings.auth);
  // The usual crawl has neither: one object for all its requests.
  if (known.size === 0 && Object.keys(settings.headers).length === 0) return () => inside;
  return (url) => {
    const { hostname, origin } = new URL(url);
    const base = isInside(hostname) ? inside : outside;
    const authorization = known.get(origin);
    return authorization === undefined ? base : { ...base, authorization };
  };
}

function parentsOf(host: string): string[] {
  const labels = host.split('.');
  return labels.slice(1).map((_, i) => labels.slice(i + 1).join('.'));
}

/** One more call of this kind, for the crawl's statistics. */
export function countCall(session: Session, kind: string): void {
  session.calls[kind] = (session.calls[kind] ?? 0) + 1;
}

/** Counts of something that is no single call, for the crawl's statistics. */
export function addCalls(session: Session, counts: Readonly<Record<string, number>>): void {
  for (const [kind, n] of Object.entries(counts)) if (n > 0) session.calls[kind] = (session.calls[kind] ?? 0) + n;
}

/** What was counted since the last time; undefined: nothing. */
export function takeCalls(session: Session): Record<string, number> | undefined {
  if (Object.keys(session.calls).length === 0) return undefined;
  const { calls } = session;
  session.calls = {};
  return calls;
}

/** The sessions of the crawls that this node works on. */
export class Sessions {
  readonly #sql: Sql;
  readonly #nodeId: string;
  readonly #byCrawl = new Map<string, Session>();

  constructor(sql: Sql, nodeId: string) {
    this.#sql = sql;
    this.#nodeId = nodeId;
  }

  /** Also when its settings changed: the cookies stay. */
  open(run: CrawlRun): Session {
    const session = newSession(run, this.#byCrawl.get(run.id));
    this.#byCrawl.set(run.id, session);
    return session;
  }

  /**
   * Takes over what is stored of the crawls' cookies and not in their jars yet: all of it after a restart, later what other
   * nodes stored.
   *
   * @param versions of the stored cookies
   */
  async syncCookies(versions: ReadonlyMap<string, number>): Promise<void> {
    for (const [id, version] of versions) {
      const jar = this.get(id)?.jar ?? null;
      if (jar === null || jar.version >= version) continue;
      const after = isTooOld(jar.version, version) ? 0 : jar.version;
      const stored = await readCookies(this.#sql, this.#nodeId, id, after);
      if (after === 0) jar.clear();
      jar.load(stored);
      jar.version = stored.reduce((newest, one) => Math.max(newest, one.version), version);
    }
  }

  /** This node has stored changes of the crawls' cookies. @param versions that they made */
  cookiesStored(versions: ReadonlyMap<string, number>): void {
    for (const [id, version] of versions) {
      const jar = this.get(id)?.jar ?? null;
      if (jar?.version === version - 1) jar.version = version;
    }
  }

  get(crawlId: string): Session | undefined {
    return this.#byCrawl.get(crawlId);
  }

  close(crawlId: string): void {
    this.#byCrawl.delete(crawlId);
  }
}
