import { randomBytes } from 'node:crypto';

const PREFIX = 'whsec_';
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const MIN_BYTES = 24;
const MAX_BYTES = 64;
const MADE_BYTES = 32;

/** A fresh secret of a webhook, as Standard Webhooks writes them. */
export function makeSecret(): string {
  return PREFIX + randomBytes(MADE_BYTES).toString('base64');
}

/** The bytes that messages are signed with. @param secret for which `secretFault` is null */
export function secretBytes(secret: string): Buffer {
  return Buffer.from(secret.slice(PREFIX.length), 'base64');
}

/** Why this is no secret of a webhook; null: it is one. Never quotes it. */
export function secretFault(secret: string): string | null {
  const expected = `expected \`${PREFIX}\` and ${MIN_BYTES} to ${MAX_BYTES} bytes in base64`;
  if (!secret.startsWith(PREFIX)) return `it does not begin with \`${PREFIX}\`; ${expected}`;
  const encoded = secret.slice(PREFIX.length);
  const bytes = secretBytes(secret);
  // What Node passes over, as a wrong padding, another library would refuse.
  if (!BASE64.test(encoded) || bytes.toString('base64') !== encoded) return `what follows is not base64; ${expected}`;
  return bytes.length < MIN_BYTES || bytes.length > MAX_BYTES ? `found ${bytes.length} bytes; ${expected}` : null;
}
