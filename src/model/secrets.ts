import { pointerNames, pointerPart } from './pointer.ts';
import type { Problem } from './spider.ts';

/** What is shown where a secret is. */
export const HIDDEN = '(hidden)';

/** Headers whose value is a secret, in lower case. */
const SECRET_HEADERS = new Set(['authorization', 'cookie', 'set-cookie', 'proxy-authorization', 'x-api-key']);

/** True where the header's value is a secret. */
export function isSecretHeader(name: string): boolean {
  return SECRET_HEADERS.has(name.toLowerCase());
}

/** A step of a path: a member's name, every member of a list or of an object, or every header whose value is a secret. */
type Step = string | typeof EACH | typeof MEMBER | typeof HEADER;
const EACH = Symbol('each');
const MEMBER = Symbol('member');
const HEADER = Symbol('header');

interface Place {
  path: readonly Step[];
  /** `url`: only the user name and password in the URL are a secret. */
  part: 'whole' | 'url';
}

const whole = (...path: Step[]): Place => ({ path, part: 'whole' });
const url = (...path: Step[]): Place => ({ path, part: 'url' });

/** Where a spider's or a crawl's settings hold secrets. */
const OF_SETTINGS: readonly Place[] = [
  whole('auth', EACH, 'password'),
  whole('auth', EACH, 'bearer'),
  whole('initialCookies', EACH, 'value'),
  whole('headers', HEADER),
  url('proxy'),
  url('proxy', EACH),
];

/** Where start URLs hold secrets. */
const OF_START_URLS: readonly Place[] = [whole(EACH, 'headers', HEADER)];

/** Where a spider's definition holds secrets, besides those of its params. */
const OF_SPIDER: readonly Place[] = [
  ...OF_SETTINGS.map(({ path, part }) => ({ path: ['settings', ...path], part })),
  ...OF_START_URLS.map(({ path, part }) => ({ path: ['startUrls', ...path], part })),
  whole('pages', EACH, 'follow', EACH, 'request', 'headers', HEADER),
  whole('pipeline', EACH, 'enrich', 'headers', HEADER),
];

/** Where a webhook holds secrets: its headers are there to tell its endpoint who calls, whatever their names. */
const OF_WEBHOOK: readonly Place[] = [whole('secret'), whole('headers', MEMBER)];

/** A string where a secret may be. */
interface Found {
  text: string;
  part: Place['part'];
  /** JSON pointer. */
  at: string;
  /** Pointer of the innermost member of a list that it lies in; null: in none. */
  entry: string | null;
}

/** The value with every string at the places changed; what does not change is not copied. */
function mapPlaces<T>(value: T, places: readonly Place[], change: (found: Found) => string): T {
  return places.reduce<unknown>(
    (changed, { path, part }) => walk(changed, path, { part, at: '', entry: null }, change),
    value,
  ) as T;
}

function walk(
  value: unknown,
  path: readonly Step[],
  where: Omit<Found, 'text'>,
  change: (found: Found) => string,
): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return typeof value === 'string' ? change({ ...where, text: value }) : value;
  if (typeof value !== 'object' || value === null || Array.isArray(value) !== (step === EACH)) return value;
  let copy: object | null = null;
  for (const name of namesOf(value, step)) {
    const member: unknown = Reflect.get(value, name);
    const at = `${where.at}/${pointerPart(name)}`;
    const entry = step === EACH ? at : where.entry;
    const changed = walk(member, rest, { ...where, at, entry }, change);
    if (changed === member) continue;
    copy ??= Array.isArray(value) ? [...value] : { ...value };
    Reflect.set(copy, name, changed);
  }
  return copy ?? value;
}

function namesOf(value: object, step: Step): string[] {
  if (step === EACH) return Object.keys(value);
  if (step === MEMBER) return Object.keys(value);
  if (step === HEADER) return Object.keys(value).filter(isSecretHeader);
  return Object.hasOwn(value, step as string) ? [step as string] : [];
}

const USERINFO = /^([a-z][a-z0-9+.-]*:[/\\]{0,2})?[^/\\?#]*@/i;

function hide({ text, part }: Pick<Found, 'text' | 'part'>): string {
  return part === 'whole' ? HIDDEN : text.replace(USERINFO, `$1${HIDDEN}@`);
}

/** True for what `hide` makes. */
function isHidden({ text, part }: Found): boolean {
  return part === 'whole' ? text === HIDDEN : text.includes(`${HIDDEN}@`);
}

/** Settings as they are shown. */
export function shownSettings<T>(settings: T): T {
  return mapPlaces(settings, OF_SETTINGS, hide);
}

/** A definition as it is shown. */
export function shownSpider<T>(definition: T): T {
  return mapPlaces(definition, placesOf(definition), hide);
}

/** A webhook's definition as it is shown. */
export function shownWebhook<T>(definition: T): T {
  return mapPlaces(definition, OF_WEBHOOK, hide);
}

/** Params as they are shown. @param secret pointers of `secretParams` */
export function shownParams<T>(params: T, secret: readonly string[]): T {
  if (secret.length === 0) return params;
  let shown: unknown = params;
  for (const pointer of secret) shown = hidden(shown, pointer.split('/').slice(1));
  return shown as T;
}

/** Whatever stands there, of any type. */
function hidden(value: unknown, names: readonly string[]): unknown {
  const [name, ...rest] = names;
  if (name === undefined) return value === null ? null : HIDDEN;
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return value;
  return { ...value, [name]: hidden(Reflect.get(value, name), rest) };
}

/** Nesting of a schema within which secret params are looked for. */
const MAX_NESTING = 8;

/**
 * The params that are secrets: those whose property in the schema says `"writeOnly": true` or `"format": "password"`, as
 * pointers into the params, their names not escaped. Names with a slash are not found.
 */
export function secretParams(schema: unknown, at = '', depth = 0): string[] {
  const properties = memberOf(schema, 'properties');
  if (typeof properties !== 'object' || properties === null || depth > MAX_NESTING) return [];
  return Object.entries(properties).flatMap(([name, property]: [string, unknown]) => {
    if (name.includes('/')) return [];
    const isSecret = memberOf(property, 'writeOnly') === true || memberOf(property, 'format') === 'password';
    return isSecret ? [`${at}/${name}`] : secretParams(property, `${at}/${name}`, depth + 1);
  });
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? Reflect.get(value, name)
    : undefined;
}

/** The places of a definition, with the defaults of its secret params and their values in samples. */
function placesOf(definition: unknown): Place[] {
  const params = secretParams(memberOf(definition, 'params')).map((pointer) => pointer.split('/').slice(1));
  return [
    ...OF_SPIDER,
    ...params.map((names) => whole('params', ...names.flatMap((name) => ['properties', name]), 'default')),
    ...params.map((names) => whole('samples', EACH, 'params', ...names)),
  ];
}

/** What is wrong with settings that were given with `(hidden)` where a secret belongs. @param at pointer of the settings */
export function hiddenInSettings(settings: unknown, at: string): Problem[] {
  return hiddenIn(settings, OF_SETTINGS, at);
}

/** The same of start URLs. @param at pointer of their list */
export function hiddenInStartUrls(startUrls: unknown, at: string): Problem[] {
  return hiddenIn(startUrls, OF_START_URLS, at);
}

/** The same of a definition. @param at pointer of the definition */
export function hiddenInSpider(definition: unknown, at: string): Problem[] {
  return hiddenIn(definition, placesOf(definition), at);
}

/** The same of params. @param secret pointers of `secretParams`. @param at pointer of the params */
export function hiddenInParams(params: unknown, secret: readonly string[], at: string): Problem[] {
  const places = secret.map((pointer) => whole(...pointer.split('/').slice(1)));
  return hiddenIn(params, places, at);
}

/** The same of a webhook. @param at its pointer */
export function hiddenInWebhook(webhook: unknown, at: string): Problem[] {
  return hiddenIn(webhook, OF_WEBHOOK, at);
}

function hiddenIn(value: unknown, places: readonly Place[], at: string): Problem[] {
  const problems: Problem[] = [];
  mapPlaces(value, places, (found) => {
    if (isHidden(found))
      problems.push({
        pointer: at + found.at,
        code: 'hidden',
        message: `found ${HIDDEN}, which the API shows instead of a secret; expected the secret itself`,
      });
    return found.text;
  });
  return problems;
}

/** Whether any secret of a definition is given as `(hidden)`. */
export function hasHidden(definition: unknown): boolean {
  return hiddenInSpider(definition, '').length > 0;
}

/**
 * A definition with its `(hidden)` secrets taken from the stored one, so that what was read can be changed and stored again.
 * One in a list's member (credentials, a cookie, a start URL, a follow rule) is taken where a member of the same list is
 * shown exactly so: a secret does not pass on to another origin, host or rule. The others are taken from the same place. What
 * is not found stays `(hidden)`.
 */
export function withSecretsOf<T>(definition: T, stored: unknown): T {
  return restored(definition, placesOf(definition), stored, placesOf(stored));
}

function restored<T>(given: T, places: readonly Place[], stored: unknown, placesThere: readonly Place[]): T {
  const known = new Map<string, string>();
  const shownThere = mapPlaces(stored, placesThere, hide);
  mapPlaces(stored, placesThere, (found) => {
    const key = keyOf(found, shownThere);
    if (!known.has(key)) known.set(key, found.text);
    return found.text;
  });
  const shownHere = mapPlaces(given, places, hide);
  return mapPlaces(given, places, (found) =>
    isHidden(found) ? (known.get(keyOf(found, shownHere)) ?? found.text) : found.text,
  );
}

/** The places of a body of `POST /crawls`, but for its params. */
function placesOfStart(start: unknown): Place[] {
  const below = (name: string, places: readonly Place[]) =>
    places.map(({ path, part }) => ({ path: [name, ...path], part }));
  return [
    ...below('settings', OF_SETTINGS),
    ...below('startUrls', OF_START_URLS),
    ...below('spider', placesOf(memberOf(start, 'spider'))),
    ...below(
      'webhooks',
      OF_WEBHOOK.map(({ path, part }) => ({ path: [EACH, ...path], part })),
    ),
  ];
}

/** A body of `POST /crawls` as it is shown. @param secret pointers of `secretParams` */
export function shownStart<T extends { params?: unknown }>(start: T, secret: readonly string[]): T {
  const shown = mapPlaces(start, placesOfStart(start), hide);
  return shown.params === undefined ? shown : { ...shown, params: shownParams(shown.params, secret) };
}

/**
 * A body of `POST /crawls` with its `(hidden)` secrets taken from the stored one, as `withSecretsOf` does it. Params are taken
 * where the spider is the same: another one might show them.
 *
 * @param secret pointers of `secretParams` of the stored one
 */
export function withSecretsOfStart<T extends { params?: unknown; spider?: unknown }>(
  start: T,
  stored: { params?: unknown; spider?: unknown },
  secret: readonly string[],
): T {
  const full = restored(start, placesOfStart(start), stored, placesOfStart(stored));
  const isSame = JSON.stringify(sorted(full.spider)) === JSON.stringify(sorted(stored.spider));
  if (!isSame || full.params === undefined) return full;
  let params: unknown = full.params;
  for (const pointer of secret) params = keptParam(params, stored.params, pointer.split('/').slice(1));
  return { ...full, params };
}

/** With the stored value in the place of `(hidden)`, whatever its type is. */
function keptParam(value: unknown, stored: unknown, names: readonly string[]): unknown {
  const [name, ...rest] = names;
  if (name === undefined) return value === HIDDEN ? stored : value;
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return value;
  return { ...value, [name]: keptParam(Reflect.get(value, name), memberOf(stored, name), rest) };
}

/** Where a secret is: its place; in a list, the list and what its member shows. @param shown the whole document, as it is shown */
function keyOf(found: Found, shown: unknown): string {
  const { entry, at } = found;
  if (entry === null) return `${at} ${hide(found)}`;
  const member = pointerNames(entry).reduce(memberOf, shown);
  return `${at.replaceAll(/\/\d+(?=\/|$)/g, '/*')} ${JSON.stringify(sorted(member))}`;
}

/** With the names of each object in order, so that equal values have equal texts. */
function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([name, member]) => [name, sorted(member)]));
}
