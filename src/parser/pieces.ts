import type { Link, ParsedPage } from '../model/outcome.ts';
import type { FromThread } from './protocol.ts';

/** Links of one message. A sitemap's 50,000 in one cost the event loop 100 ms, 2,000 cost it 4. */
const MAX_LINKS = 2000;

/** Part of a page that is still to come. */
export type Piece = Extract<FromThread, { kind: 'piece' }>;

/**
 * What a parser thread says, in its order. A page with many links goes in pieces, each sent when the pool has asked for it
 * (`more`), so that the event loop has other turns between them; the thread works on meanwhile, and what it says waits here.
 */
export class Outbox {
  readonly #post: (message: FromThread) => void;
  readonly #waiting: FromThread[] = [];
  #isAwaited = false;

  constructor(post: (message: FromThread) => void) {
    this.#post = post;
  }

  send(message: FromThread): void {
    if (message.kind === 'page') this.#waiting.push(...piecesOf(message.page));
    this.#waiting.push(message);
    if (!this.#isAwaited) this.#flush();
  }

  /** The pool has taken the piece before. */
  more(): void {
    this.#isAwaited = false;
    this.#flush();
  }

  #flush(): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      this.#post(next);
      if (next.kind !== 'piece') continue;
      this.#isAwaited = true;
      return;
    }
  }
}

/** Takes all links out of the page but those that go with it. */
function piecesOf(page: ParsedPage): Piece[] {
  const pieces: Piece[] = [];
  const { links, linkedFps } = page;
  for (let from = 0; Math.max(links.length, linkedFps.length) - from > MAX_LINKS; from += MAX_LINKS) {
    const to = from + MAX_LINKS;
    pieces.push({ kind: 'piece', links: links.slice(from, to), linkedFps: linkedFps.slice(from, to) });
    page.links = links.slice(to);
    page.linkedFps = linkedFps.slice(to);
  }
  return pieces;
}

/** The pieces of one page as they come, put together again with its last part. */
export class Inbox {
  #links: Link[] = [];
  #linkedFps: string[] = [];

  add({ links, linkedFps }: Piece): void {
    for (const link of links) this.#links.push(link);
    for (const fp of linkedFps) this.#linkedFps.push(fp);
  }

  /** Makes the page whole. */
  complete(page: ParsedPage): void {
    if (this.#links.length + this.#linkedFps.length === 0) return;
    for (const link of page.links) this.#links.push(link);
    for (const fp of page.linkedFps) this.#linkedFps.push(fp);
    page.links = this.#links;
    page.linkedFps = this.#linkedFps;
    this.#links = [];
    this.#linkedFps = [];
  }
}
