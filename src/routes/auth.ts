import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from '../errors.ts';

/** An API key of the operator. */
export interface Credential {
  name: string;
  secret: string;
  scopes: readonly ('read' | 'write')[];
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Name of the API key, or `anonymous`. */
    principal: string;
  }
}

const OPEN = /^\/(?:|healthz|readyz|openapi\.json|docs(?:\/.*)?)$/;
const digest = (text: string) => createHash('sha256').update(text).digest();

/**
 * Asks for `Authorization: Bearer <secret>`; GET and HEAD need the scope read, everything else write. Without keys all is open
 * (the service then listens on loopback only). The time it takes tells nothing of a secret.
 */
export function authenticator(keys: readonly Credential[]) {
  const known = keys.map((key) => ({ ...key, hash: digest(key.secret) }));
  return async (request: FastifyRequest, _reply: FastifyReply): Promise<void> => {
    request.principal = 'anonymous';
    if (known.length === 0 || OPEN.test(request.url.split('?')[0] ?? '')) return;
    const [, secret] = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '') ?? [];
    if (secret === undefined) throw new ApiError('unauthorized');
    const hash = digest(secret);
    const key = known.filter((candidate) => timingSafeEqual(candidate.hash, hash))[0];
    if (key === undefined) throw new ApiError('unauthorized', 'The API key is not known');
    const scope = request.method === 'GET' || request.method === 'HEAD' ? 'read' : 'write';
    if (!key.scopes.includes(scope)) throw new ApiError('forbidden', `The key ${key.name} lacks the scope ${scope}`);
    request.principal = key.name;
  };
}
