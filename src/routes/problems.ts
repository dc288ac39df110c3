import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { isTransient } from '../db/client.ts';
import { ApiError, ERRORS, type ErrorCode } from '../errors.ts';

/** After which a client that was sent away is to come again. */
const RETRY_SECONDS = '1';

/** What Fastify itself refuses, as this API's errors. */
const FRAMEWORK: Record<string, ErrorCode> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'invalid_json',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'invalid_json',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid_json',
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_BAD_URL: 'not_found',
  FST_ERR_MAX_PARAM_LENGTH: 'not_found',
};

function asApiError(error: FastifyError | Error): ApiError {
  if (error instanceof ApiError) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const known = FRAMEWORK[code];
  if (known === 'invalid_json') return new ApiError(known, error.message);
  if (known !== undefined) return new ApiError(known);
  if (error instanceof SyntaxError && 'statusCode' in error && error.statusCode === 400)
    return new ApiError('invalid_json', error.message);
  // The static files of /docs refuse a path that climbs out of their folder.
  if ('statusCode' in error && (error.statusCode === 403 || error.statusCode === 404)) return new ApiError('not_found');
  if (isTransient(error)) return new ApiError('database_unavailable');
  return new ApiError('internal', 'Something went wrong; the log has the details under the request id');
}

/**
 * Answers any error as an RFC 9457 problem document, and logs what is the service's own fault. To be sent away is none: a thousand
 * previews at once wrote a megabyte of stacks.
 */
export function sendProblem(error: FastifyError | Error, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = asApiError(error);
  const { status, title } = ERRORS[known.code];
  if (status === 500) request.log.error({ err: error }, 'internal error');
  else if (known.code === 'too_busy') request.log.debug({ detail: known.message }, title);
  else if (status === 503) request.log.warn({ err: error }, title);
  const document = {
    type: known.code,
    title,
    status,
    detail: known.message,
    requestId: request.id,
    ...(known.problems.length > 0 ? { errors: known.problems } : {}),
  };
  if (known.code === 'too_busy') reply.header('retry-after', RETRY_SECONDS);
  return reply.code(status).type('application/problem+json').serializer(String).send(JSON.stringify(document));
}

/** A route as the 405 answer needs it. */
export interface KnownRoute {
  methods: string[];
  path: RegExp;
}

/** The route pattern as an expression over paths. @param pattern as `/crawls/:id` */
export function pathExpression(pattern: string): RegExp {
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replace(/:[A-Za-z]+/g, '[^/]+').replace('*', '.*')}$`);
}

/** 405 with `Allow` where the path is known with another method, else 404. */
export function notFound(routes: readonly KnownRoute[], request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const path = request.url.split('?')[0] ?? '';
  const methods = new Set(routes.filter((route) => route.path.test(path)).flatMap((route) => route.methods));
  if (methods.size === 0)
    return sendProblem(new ApiError('not_found', `There is no ${path.slice(0, 200)}`), request, reply);
  const allow = [...methods].sort().join(', ');
  reply.header('allow', allow);
  return sendProblem(new ApiError('method_not_allowed', `${path.slice(0, 200)} takes ${allow}`), request, reply);
}
