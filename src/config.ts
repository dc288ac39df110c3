import { availableParallelism } from 'node:os';
import ipaddr from 'ipaddr.js';
import { StartupError } from './errors.ts';
import { connectionKind } from './model/connection.ts';
import { readS3Url } from './model/s3_url.ts';

export type Scope = 'read' | 'write';
export interface ApiKey {
  name: string;
  secret: string;
  scopes: readonly Scope[];
}

/** Seconds that crawls, and their ledgers, are kept after their end; null: for ever. */
export interface Retention {
  items: number | null;
  ledger: number | null;
}

type Parse<T> = (text: string, variable: string) => T;
interface Setting<T> {
  variable: string;
  fallback: T;
  parse: Parse<T>;
  meaning: string;
}
const setting = <T>(variable: string, fallback: T, parse: Parse<T>, meaning: string): Setting<T> => ({
  variable,
  fallback,
  parse,
  meaning,
});

/** The one table of settings: variable, default, how it is read, what it means. docs/configuration.md is tied to it by a test. */
export const SETTINGS_TABLE = {
  host: setting('HOST', '127.0.0.1', text, 'address to listen on; one that is not loopback needs API_KEYS'),
  port: setting('PORT', 3000, integer(0, 65_535), 'port to listen on; 0 takes a free one'),
  databaseUrl: setting<string | null>(
    'DATABASE_URL',
    null,
    databaseUrl,
    'PostgreSQL 15 or later; none: the embedded server',
  ),
  dataDir: setting('DATA_DIR', './data', text, 'where the embedded database lives'),
  role: setting<'all' | 'api' | 'worker'>('ROLE', 'all', oneOf('all', 'api', 'worker'), 'what this node does'),
  apiKeys: setting<readonly ApiKey[]>(
    'API_KEYS',
    [],
    apiKeys,
    'name:secret[:scope…], comma-separated; scopes read, write; none: both',
  ),
  egressAllow: setting<readonly string[]>(
    'EGRESS_ALLOW',
    [],
    cidrs,
    'CIDRs that may be fetched besides public addresses',
  ),
  webhookEgressAllow: setting<readonly string[]>(
    'WEBHOOK_EGRESS_ALLOW',
    [],
    cidrs,
    'CIDRs that webhooks may call besides public addresses',
  ),
  enrichEgressAllow: setting<readonly string[]>(
    'ENRICH_EGRESS_ALLOW',
    [],
    cidrs,
    'CIDRs that enrich steps may call besides public addresses',
  ),
  connections: setting<ReadonlyMap<string, string>>(
    'CONNECTIONS',
    new Map(),
    connections,
    'name=postgres://…, comma-separated: databases that lookups read and exports write (mysql, mongodb, redis, s3 URLs too)',
  ),
  proxies: setting<ReadonlyMap<string, string>>(
    'PROXIES',
    new Map(),
    proxies,
    'name=http://user:password@host:port, comma-separated: proxies that crawls may name',
  ),
  parserThreads: setting('PARSER_THREADS', Math.max(2, availableParallelism()), integer(1, 64), 'parser threads'),
  parserMemoryMb: setting(
    'PARSER_MEMORY_MB',
    128,
    integer(32, 4096),
    'heap of one parser thread; a page that needs more fails',
  ),
  scripts: setting<boolean | null>(
    'SCRIPTS',
    null,
    onOff,
    'on or off: whether script spiders run; none: on where HOST is loopback',
  ),
  scriptProcesses: setting('SCRIPT_PROCESSES', 2, integer(1, 64), 'sandboxed processes that run scripts at once'),
  chromiumPath: setting<string | null>(
    'CHROMIUM_PATH',
    null,
    text,
    'a Chromium that renders pages; none: spiders with `render` are refused',
  ),
  renderPages: setting('RENDER_PAGES', 4, integer(1, 64), 'pages that are rendered at once'),
  renderMemoryMb: setting(
    'RENDER_MEMORY_MB',
    2048,
    integer(256, 1_048_576),
    'memory of the browser with all its pages; beyond it the browser is replaced',
  ),
  maxFetches: setting('MAX_FETCHES', 512, integer(1, 10_000), 'fetches at once on this node, over all crawls'),
  cacheMb: setting('CACHE_MB', 1024, integer(0, 1_000_000), 'MiB of responses that crawls with `cache` keep, in all'),
  retention: setting<Retention>(
    'RETENTION',
    { items: null, ledger: null },
    retention,
    'how long crawls are kept after their end, as 30d or items=90d,ledger=7d (s, m, h, d, w); none: for ever; a crawl’s `keepFor` goes first',
  ),
  logLevel: setting(
    'LOG_LEVEL',
    'info',
    oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    'pino level; pretty on a terminal, JSON elsewhere',
  ),
} as const;

type Table = typeof SETTINGS_TABLE;
export type Config = { readonly [K in keyof Table]: Table[K] extends Setting<infer T> ? T : never };

function text(value: string): string {
  return value;
}

function integer(min: number, max: number): Parse<number> {
  return (value, variable) => {
    const n = Number(value);
    if (!Number.isInteger(n) || n < min || n > max)
      throw new StartupError(`${variable} is "${value}"; expected a whole number from ${min} to ${max}`);
    return n;
  };
}

function oneOf<T extends string>(...words: T[]): Parse<T> {
  return (value, variable) => {
    const word = words.find((w) => w === value);
    if (word === undefined) throw new StartupError(`${variable} is "${value}"; expected one of ${words.join(', ')}`);
    return word;
  };
}

function onOff(value: string, variable: string): boolean {
  return oneOf('on', 'off')(value, variable) === 'on';
}

function databaseUrl(value: string, variable: string): string {
  if (!/^postgres(ql)?:$/.test(URL.parse(value)?.protocol ?? ''))
    throw new StartupError(`${variable} is not a URL of the form postgres://user:password@host:port/database`);
  return value;
}

function cidrs(value: string, variable: string): string[] {
  const list = value.split(',').map((part) => part.trim());
  for (const part of list)
    if (!ipaddr.isValidCIDR(part))
      throw new StartupError(`${variable} has "${part}"; expected CIDRs such as 127.0.0.0/8`);
  return list;
}

function apiKeys(value: string, variable: string): ApiKey[] {
  return value.split(',').map((entry) => {
    const [name, secret, ...scopes] = entry.trim().split(':');
    if (!name || !secret || secret.length < 16)
      throw new StartupError(`${variable}: each key is name:secret[:scope…], the secret of at least 16 characters`);
    const known = scopes.map((scope) => oneOf('read', 'write')(scope, `${variable}, scope of ${name}`));
    return { name, secret, scopes: known.length > 0 ? known : (['read', 'write'] as const) };
  });
}

function connections(value: string, variable: string): Map<string, string> {
  return namedUrls(value, variable, 'postgres://user:password@host:port/database', (url) => {
    const kind = connectionKind(url);
    if (kind === null) return 'is not a postgres://, mysql://, mongodb://, redis:// or s3:// URL';
    if (kind === 'mongodb' && !/^[^/]+\/\/[^/]+\/[^/?]+/.test(url))
      return 'names no database: mongodb://user:password@host:port/database';
    return kind === 's3' && readS3Url(url) === null ? 'is not s3://KEY:SECRET@host/bucket' : null;
  });
}

function proxies(value: string, variable: string): Map<string, string> {
  return namedUrls(value, variable, 'http://user:password@host:port', (url) => {
    const { protocol, pathname, search, hash } = URL.parse(url) ?? {};
    return protocol === 'http:' && pathname === '/' && search === '' && hash === ''
      ? null
      : 'is not http://host:port; a proxy is asked by CONNECT over plain HTTP';
  });
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
/** A hundred years, as `keepFor`. */
const MAX_RETENTION_S = 3_153_600_000;

function retention(value: string, variable: string): Retention {
  const kept: Retention = { items: null, ledger: null };
  for (const part of value.split(',')) {
    const [, what, n, unit] = /^\s*(?:(items|ledger)\s*=\s*)?(\d{1,6})([smhdw])\s*$/.exec(part) ?? [];
    if (n === undefined || unit === undefined)
      throw new StartupError(`${variable} has "${part}"; expected 30d, or items=90d,ledger=7d (s, m, h, d or w)`);
    const seconds = Number(n) * SECONDS[unit]!;
    // Beyond, the database's times would end.
    if (seconds > MAX_RETENTION_S) throw new StartupError(`${variable} has "${part}"; expected at most 5200w`);
    if (what !== 'ledger') kept.items = seconds;
    if (what !== 'items') kept.ledger = seconds;
  }
  return kept;
}

/** Never quotes a value: it holds passwords. @param fault why a URL is none for this, or null */
function namedUrls(
  value: string,
  variable: string,
  form: string,
  fault: (url: string) => string | null,
): Map<string, string> {
  const known = new Map<string, string>();
  for (const [i, entry] of value.split(',').entries()) {
    const [, name, url] = /^\s*([A-Za-z_][\w-]{0,99})=(\S+)\s*$/.exec(entry) ?? [];
    if (name === undefined || url === undefined)
      throw new StartupError(`${variable}: entry ${i + 1} is not name=${form} (a comma in it is %2C)`);
    const wrong = fault(url);
    if (wrong !== null) throw new StartupError(`${variable}: ${name} ${wrong}`);
    if (known.has(name)) throw new StartupError(`${variable}: ${name} is there twice`);
    known.set(name, url);
  }
  return known;
}

/** Whether script spiders may be posted and run: by default only where nobody else can reach the service. */
export function runsScripts({ scripts, host }: Pick<Config, 'scripts' | 'host'>): boolean {
  return scripts ?? isLoopback(host);
}

/** True for names and literals that only this machine can reach. */
function isLoopback(host: string): boolean {
  if (host === 'localhost') return true;
  return ipaddr.isValid(host) && ipaddr.process(host).range() === 'loopback';
}

/**
 * Reads the settings once; an empty variable counts as absent.
 *
 * @throws StartupError that names the variable and what was expected
 */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const entries = Object.entries(SETTINGS_TABLE).map(([name, { variable, fallback, parse }]) => {
    const value = env[variable];
    return [name, value === undefined || value === '' ? fallback : parse(value, variable)];
  });
  const config = Object.freeze(Object.fromEntries(entries)) as Config;
  if (!isLoopback(config.host) && config.apiKeys.length === 0)
    throw new StartupError(
      `HOST is ${config.host}, which others can reach, and API_KEYS is empty: set API_KEYS=name:secret, or HOST=127.0.0.1`,
    );
  return config;
}
