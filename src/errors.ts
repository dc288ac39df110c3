import { MAX_PROBLEMS } from './model/problems.ts';
import type { Problem } from './model/spider.ts';

/**
 * Every error that a client can see, by stable code: HTTP status, title, and what follows from it.
 * docs/errors.md lists the same table; a test ties the two together.
 */
export const ERRORS = {
  invalid_json: { status: 400, title: 'The body is not JSON', consequence: 'nothing was done; mend the body' },
  invalid_request: {
    status: 422,
    title: 'The request is not valid',
    consequence: 'nothing was done; mend each field of `errors`',
  },
  invalid_spider: {
    status: 422,
    title: 'The spider is not valid',
    consequence: 'nothing was stored; mend each field of `errors`',
  },
  unauthorized: { status: 401, title: 'An API key is needed', consequence: 'send Authorization: Bearer <key>' },
  forbidden: { status: 403, title: 'The API key lacks the scope', consequence: 'use a key with the scope' },
  not_found: { status: 404, title: 'Not found', consequence: 'check the path and the id' },
  crawl_not_found: {
    status: 404,
    title: 'There is no such crawl',
    consequence: 'check the id; it may have been deleted',
  },
  spider_not_found: {
    status: 404,
    title: 'There is no such spider or version',
    consequence: 'check the name and the version; GET /spiders lists them',
  },
  schedule_not_found: {
    status: 404,
    title: 'There is no such schedule',
    consequence: 'check the id; GET /schedules lists them',
  },
  request_not_found: { status: 404, title: 'The crawl has never discovered this URL', consequence: 'check the URL' },
  delivery_not_found: {
    status: 404,
    title: 'The crawl has no such delivery',
    consequence: 'check the id, which is the webhook-id of the message; GET …/deliveries lists them',
  },
  export_not_found: {
    status: 404,
    title: 'The crawl has no such export or webhook',
    consequence: 'check the name; GET …/exports lists them',
  },
  ledger_deleted: {
    status: 410,
    title: 'The ledger of the crawl was deleted',
    consequence: 'items, counters and log are there; keepFor and RETENTION say how long a ledger is kept',
  },
  method_not_allowed: { status: 405, title: 'Method not allowed', consequence: 'see /docs' },
  not_acceptable: { status: 406, title: 'No such format', consequence: 'ask for one of the listed formats' },
  wrong_state: { status: 409, title: 'The crawl is in the wrong state for this', consequence: 'nothing was changed' },
  spider_exists: {
    status: 409,
    title: 'There is a spider of this name',
    consequence: 'nothing was stored; PUT /spiders/<name> adds a version',
  },
  schedule_exists: {
    status: 409,
    title: 'There is a schedule of this name',
    consequence: 'nothing was stored; PATCH /schedules/<id> changes it',
  },
  version_conflict: {
    status: 409,
    title: 'The spider has another version by now',
    consequence: 'nothing was stored; read the newest version and change that',
  },
  idempotency_mismatch: {
    status: 422,
    title: 'The Idempotency-Key was used with another body',
    consequence: 'use a new key',
  },
  body_too_large: { status: 413, title: 'The body is too large', consequence: 'send less' },
  unsupported_media_type: {
    status: 415,
    title: 'The body is not application/json',
    consequence: 'send application/json',
  },
  too_busy: {
    status: 503,
    title: 'This node has as much of this under way as it does at once',
    consequence: 'nothing was done; try again after Retry-After seconds',
  },
  not_ready: { status: 503, title: 'The service is not ready', consequence: 'try again' },
  database_unavailable: {
    status: 503,
    title: 'The database does not answer',
    consequence: 'nothing was done; try again',
  },
  internal: {
    status: 500,
    title: 'Internal error',
    consequence: 'a bug; the log has the details under the request id',
  },
} as const satisfies Record<string, { status: number; title: string; consequence: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** An error for the client; the error handler makes an RFC 9457 problem document of it. */
export class ApiError extends Error {
  readonly code: ErrorCode;
  readonly problems: Problem[];

  /** @param detail one sentence: what was found, what was expected. @param problems each bad field, for 422 */
  constructor(code: ErrorCode, detail?: string, problems: Problem[] = []) {
    super(detail ?? ERRORS[code].title);
    this.code = code;
    this.problems = problems;
  }
}

/** @throws ApiError `invalid_request`, or `invalid_spider` where all of it is the spider's, when there is a problem */
export function refuse(problems: readonly Problem[], spiderAt = '/spider'): void {
  if (problems.length === 0) return;
  const code = problems.every(({ pointer }) => pointer.startsWith(spiderAt)) ? 'invalid_spider' : 'invalid_request';
  throw new ApiError(
    code,
    `${fieldsAre(problems.length)} not valid; nothing was stored`,
    problems.slice(0, MAX_PROBLEMS),
  );
}

/** How a sentence about so many wrong fields begins; no more than `MAX_PROBLEMS` are looked for. */
export function fieldsAre(count: number): string {
  if (count >= MAX_PROBLEMS) return `At least ${MAX_PROBLEMS} fields are`;
  return count === 1 ? 'One field is' : `${count} fields are`;
}

/** Why the process cannot start, as one line for the operator: what is wrong and how to mend it. */
export class StartupError extends Error {}
