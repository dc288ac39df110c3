import assert from 'node:assert/strict';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { Webhook as Library } from 'standardwebhooks';
import { type Site, startSite } from '../support/site.ts';

export const SECRET = `whsec_${Buffer.from('a secret of more than 24 bytes').toString('base64')}`;

/** A message as an endpoint received it. */
export interface Received {
  id: string;
  headers: IncomingHttpHeaders;
  /** As it came. */
  text: string;
  type: string;
  data: { crawl: { id: string; state?: string }; items?: { offset: number; data: unknown }[] };
}

/** How an endpoint answers a message. */
export type Manner = (req: IncomingMessage, res: ServerResponse, message: Received) => void;

export interface Endpoint extends Site {
  /** Every try, in order; the signature of each was checked with the published library. */
  received: Received[];
  /** How it answers from now on. */
  manner: Manner;
}

export const answer =
  (status: number, headers: Record<string, string> = {}, body = ''): Manner =>
  (_req, res) => {
    res.writeHead(status, headers).end(body);
  };

/** An endpoint that takes everything. @param secret of the webhook */
export async function startEndpoint(secret = SECRET): Promise<Endpoint> {
  const received: Received[] = [];
  const site = await startSite(async (req, res) => {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const headers = req.headers as Record<string, string>;
    assert.ok(new Library(secret).verify(text, headers));
    const { type, data } = JSON.parse(text) as Pick<Received, 'type' | 'data'>;
    const message = { id: headers['webhook-id']!, headers: req.headers, text, type, data };
    received.push(message);
    endpoint.manner(req, res, message);
  });
  const endpoint: Endpoint = Object.assign(site, { received, manner: answer(204) });
  return endpoint;
}

/** What an endpoint that keeps to `webhook-id` has: each message once, equal to the byte each time it came. */
export function once(received: readonly Received[]): Received[] {
  const known = new Map<string, Received>();
  for (const message of received) {
    const before = known.get(message.id);
    if (before !== undefined) assert.equal(message.text, before.text);
    known.set(message.id, before ?? message);
  }
  return [...known.values()];
}
