import { freeze, host, parse, type ResponseInput, stringify } from './host.ts';
import { Selection } from './selection.ts';

/** Where a response's document is, for what the script must not reach. */
export const documents = new WeakMap<object, number>();

/** What a callback, or `ctx.fetch`, is given. */
export class Response {
  readonly url: string;
  readonly status: number;
  /** True for 2xx. */
  readonly ok: boolean;
  /** Names in lower case. */
  readonly headers: Record<string, string | string[]>;
  readonly depth: number;
  /** What `ctx.follow` was given as `meta`. */
  readonly meta: Record<string, unknown>;
  readonly #page: number;
  readonly #document: number;
  readonly #root: string;

  constructor(page: number, { document, root, url, status, headers }: ResponseInput, depth: number, meta: object) {
    this.url = url;
    this.status = status;
    this.ok = status >= 200 && status < 300;
    this.headers = headers;
    this.depth = depth;
    this.meta = meta as Record<string, unknown>;
    this.#page = page;
    this.#document = document;
    this.#root = stringify([root]);
    documents.set(this, document);
    freeze(this);
  }

  text(): string {
    return host.text(this.#page, this.#document);
  }

  json(): unknown {
    return parse(this.text());
  }

  css(selector: string): Selection {
    return this.#all().css(selector);
  }

  xpath(expression: string): Selection {
    return this.#all().xpath(expression);
  }

  /** What the page is about, as Markdown: without navigation, header and footer. */
  markdown(): string {
    return parse(host.values(this.#page, this.#root, 'css', '', 'markdown', 'main', 1)) as string;
  }

  /** The objects of the page's JSON-LD. */
  jsonLd(): unknown[] {
    return parse(host.jsonLd(this.#page, this.#document)) as unknown[];
  }

  /** An absolute URL, by the page's `<base href>`; null where `href` is none. */
  urljoin(href: string): string | null {
    return host.join(this.#page, this.#document, `${href}`) ?? null;
  }

  #all(): Selection {
    return new Selection(this.#page, this.#root, 'css', '', null);
  }
}

freeze(Response.prototype);
freeze(Response);
