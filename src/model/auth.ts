import { HIDDEN } from './secrets.ts';
import type { Auth } from './settings.ts';
import type { Problem } from './spider.ts';
import { parseHttpUrl } from './url.ts';

/** RFC 6750, 2.1. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;
const PRINTABLE = /^[^\p{Cc}]*$/u;

/** What cannot be sent of the credentials of a crawl's settings: every mistake, each with its pointer. @param at theirs */
export function authProblems(auth: readonly Auth[], at: string): Problem[] {
  const seen = new Set<string>();
  return auth.flatMap((entry, i) => {
    const problems = entryProblems(entry, `${at}/${i}`);
    const origin = originOf(entry.origin);
    if (origin !== null && seen.has(origin)) {
      const message = `found a second entry for ${origin}; expected one for each origin`;
      problems.push({ pointer: `${at}/${i}/origin`, code: 'conflict', message });
    }
    if (origin !== null) seen.add(origin);
    return problems;
  });
}

function entryProblems({ origin, username, password, bearer }: Auth, at: string): Problem[] {
  const problems: Problem[] = [];
  const report = (part: string, code: Problem['code'], message: string) =>
    problems.push({ pointer: `${at}${part}`, code, message });
  if (originOf(origin) === null) {
    const found = origin.includes('@') ? 'a user name or password in it' : JSON.stringify(origin);
    report('/origin', 'bad_url', `found ${found}; expected an origin alone, as https://books.example`);
  }
  const isBasic = username !== undefined || password !== undefined;
  if (isBasic && bearer !== undefined)
    report('/bearer', 'conflict', '`bearer` does not go with `username` and `password`; give one of the two');
  else if (isBasic && (username === undefined || password === undefined))
    report('', 'required', '`username` and `password` go together; one of them is missing (it may be empty)');
  else if (!isBasic && bearer === undefined)
    report('', 'required', 'found no credentials; expected `username` and `password`, or `bearer`');
  if (username?.includes(':')) report('/username', 'bad_value', 'a user name holds no colon (RFC 7617)');
  for (const [name, value] of [['username', username] as const, ['password', password] as const])
    if (value !== undefined && !PRINTABLE.test(value))
      report(`/${name}`, 'bad_value', 'a user name or password holds no control characters (RFC 7617)');
  // Where the API's own `(hidden)` is given, that is said instead.
  if (bearer !== undefined && bearer !== HIDDEN && !TOKEN.test(bearer))
    report('/bearer', 'bad_value', 'a bearer token has letters, digits and -._~+/ alone (RFC 6750), without `Bearer `');
  return problems;
}

/** An origin as URLs have it; null where the text is more or less than one. */
function originOf(text: string): string | null {
  const url = parseHttpUrl(text);
  if (url === null || url.username !== '' || url.password !== '') return null;
  return url.href === `${url.origin}/` && !/[?#]/.test(text) ? url.origin : null;
}

/** The Authorization header of each origin that has one. @param auth checked */
export function authorizations(auth: readonly Auth[]): ReadonlyMap<string, string> {
  return new Map(auth.map((entry) => [originOf(entry.origin) ?? '', authorizationOf(entry)]));
}

function authorizationOf({ username = '', password = '', bearer }: Auth): string {
  return bearer === undefined ? basic(username, password) : `Bearer ${bearer}`;
}

/** RFC 7617, in UTF-8. */
export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
