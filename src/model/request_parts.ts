import { headerProblems } from './headers.ts';
import type { RequestExtra } from './request.ts';
import type { FollowRule, Problem } from './spider.ts';

/** Method, headers and body of a request, as a start URL or a follow rule gives them. */
export type RequestParts = NonNullable<FollowRule['request']>;

/** Characters of a body, also of one that a form or JSON becomes. */
const MAX_BODY = 100_000;
const BODIES = ['form', 'json', 'body'] as const;

/** The same as it is sent: names of headers in lower case, the body as text with its Content-Type. Absent parts are a plain GET's. */
export function sentParts(parts: RequestParts): Pick<RequestExtra, 'method' | 'headers' | 'body'> {
  const { text, type } = bodyOf(parts);
  const given = Object.fromEntries(
    Object.entries(parts.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const headers = type === null ? given : { 'content-type': type, ...given };
  const method = methodOf(parts);
  return {
    ...(method === 'GET' ? {} : { method }),
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
    ...(text === null || text === '' ? {} : { body: text }),
  };
}

/** POST where there is a body and no method is named. */
function methodOf({ method, form, json, body }: RequestParts): string {
  return method ?? (form === undefined && json === undefined && body === undefined ? 'GET' : 'POST');
}

function bodyOf({ form, json, body }: RequestParts): { text: string | null; type: string | null } {
  if (form !== undefined)
    return { text: new URLSearchParams(form).toString(), type: 'application/x-www-form-urlencoded' };
  if (json !== undefined) return { text: JSON.stringify(json), type: 'application/json' };
  return { text: body ?? null, type: null };
}

/** What is wrong with the parts beyond their schema. @param at pointer of the object that has them */
export function partProblems(parts: RequestParts, at: string): Problem[] {
  const problems = headerProblems(parts.headers, `${at}/headers`);
  const bodies = BODIES.filter((name) => parts[name] !== undefined);
  const [first, second] = bodies;
  if (second !== undefined)
    problems.push({
      pointer: `${at}/${second}`,
      code: 'conflict',
      message: `\`${first}\` is there as well; expected at most one of ${BODIES.join(', ')}`,
    });
  const method = methodOf(parts);
  if (first !== undefined && (method === 'GET' || method === 'HEAD'))
    problems.push({
      pointer: `${at}/method`,
      code: 'conflict',
      message: `found ${method} with \`${first}\`; a ${method} has no body: leave the method away for a POST`,
    });
  const length = second === undefined ? (bodyOf(parts).text?.length ?? 0) : 0;
  if (length > MAX_BODY)
    problems.push({
      pointer: `${at}/${first}`,
      code: 'too_long',
      message: `found a body of ${length} characters; expected at most ${MAX_BODY}`,
    });
  return problems;
}
