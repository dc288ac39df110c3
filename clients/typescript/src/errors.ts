import type { components } from './schema.d.ts';

/** One field that is wrong. `pointer`: a JSON pointer into the body; `?name` of the query; `name:` of a header. */
export type Problem = NonNullable<components['schemas']['Problem']['errors']>[number];

type ProblemDocument = components['schemas']['Problem'];

/** What the client itself finds, besides the codes that the service gives. */
type OwnCode =
  /** No answer came: no name, no connection, or it broke off. `cause` has why. */
  | 'unreachable'
  /** A stream was cut off, and could not be had again in time. */
  | 'cut_off'
  /** An answer that is not of this API; `status` says more. */
  | 'bad_answer';

/** Every error of the client, but for a signal's own reason. Match on `code`; messages may change. */
export class OrbweaverError extends Error {
  override readonly name = 'OrbweaverError';
  /** A code of docs/errors.md, as `invalid_spider`, or one of the client's own. */
  readonly code: OwnCode | (string & {});
  /** HTTP status; null where no answer came. */
  readonly status: number | null;
  /** Each wrong field, where the service refused a request for its fields; else empty. */
  readonly problems: readonly Problem[];
  /** Names the request in the service's log; null where the answer named none. */
  readonly requestId: string | null;
  /** What the service asked to wait before the next try, in milliseconds (RFC 9110, 10.2.3); null: nothing. */
  readonly retryAfterMs: number | null;

  constructor(
    code: OwnCode | (string & {}),
    message: string,
    rest: { problems?: readonly Problem[]; requestId?: string | null; response?: Response; cause?: unknown } = {},
  ) {
    super(message, rest.cause === undefined ? undefined : { cause: rest.cause });
    this.code = code;
    this.status = rest.response?.status ?? null;
    this.problems = rest.problems ?? [];
    this.requestId = rest.requestId ?? rest.response?.headers.get('x-request-id') ?? null;
    this.retryAfterMs = retryAfter(rest.response);
  }

  /** Whether the same request may come to something later: no answer came, or one that says «not now». */
  get isPassing(): boolean {
    if (this.status === null) return this.code !== 'bad_answer';
    return this.status >= 500 || this.status === 408 || this.status === 425 || this.status === 429;
  }
}

/** What an answer with a status outside 2xx says. */
export async function errorOf(response: Response): Promise<OrbweaverError> {
  const text = await response.text().catch(() => '');
  const document = problemOf(text);
  if (document === null)
    return new OrbweaverError('bad_answer', `${response.url} answered ${response.status}, and not as Orbweaver does`, {
      response,
    });
  const { type, detail, errors, requestId } = document;
  return new OrbweaverError(type, detail, { problems: errors ?? [], requestId, response });
}

function problemOf(text: string): ProblemDocument | null {
  try {
    const found = JSON.parse(text) as Partial<ProblemDocument> | null;
    return typeof found?.type === 'string' && typeof found.detail === 'string' ? (found as ProblemDocument) : null;
  } catch {
    return null;
  }
}

/** @param error what `fetch` threw. @param url what was asked for */
export function unreachable(url: string, error: unknown): OrbweaverError {
  return new OrbweaverError('unreachable', `${url}: ${reasonOf(error)}`, { cause: error });
}

/** Whether there is no service at that address at all; only Node tells, in a browser it is never known. */
export function nothingListens(error: unknown): boolean {
  const { cause } = error instanceof OrbweaverError && error.cause instanceof Error ? error.cause : {};
  const { code } = (cause ?? {}) as { code?: string };
  return code === 'ECONNREFUSED' || code === 'ENOTFOUND';
}

/** `fetch failed` alone says nothing: what lies behind it does. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  return cause.message === '' ? ((cause as { code?: string }).code ?? error.message) : cause.message;
}

function retryAfter(response: Response | undefined): number | null {
  const value = response?.headers.get('retry-after');
  if (value === null || value === undefined) return null;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : null;
}
