import type { PlainCookie, RenderPlan } from '../model/render.ts';

/** One fetched page, to be made into what a browser shows. */
export interface RenderJob {
  /** Jobs of one crawl share a browser context, and with it the browser's cache. */
  crawlId: string;
  /** Canonical. */
  url: string;
  status: number;
  /** Of the response; `Set-Cookie` is the jar's business and not handed on. */
  responseHeaders: Record<string, string | string[] | undefined>;
  /** `bodyBytes` of it are in use. It must not change until the answer. */
  body: SharedArrayBuffer;
  bodyBytes: number;
  plan: RenderPlan;
  userAgent: string;
  acceptLanguage: string;
  /** Sent with the page's own requests to its own origin, and to no other. */
  ownHeaders: Record<string, string>;
  cookies: PlainCookie[];
  verifyTls: boolean;
  /** Of the page as the browser shows it. */
  maxBytes: number;
  /** Whether a page that refreshes to another while it is waited for is a redirect; else it stays. */
  followsRefresh: boolean;
}

/** What the browser did for one page. */
export interface RenderUsage {
  /** Requests that it made; the page itself, which is given to it, does not count. */
  requests: number;
  /** Of these, those that the egress guard refused. */
  refused: number;
  /** Bytes that came to it over its connections, TLS included. */
  bytes: number;
  /** Milliseconds, waiting for a turn not included. */
  ms: number;
}

/** What became of a page. */
export type RenderEnd =
  | { kind: 'page' /** UTF-8. */; html: Uint8Array<ArrayBuffer>; cookies: PlainCookie[]; flags: string[] }
  /** The page sent the browser elsewhere; it did not go. */
  | { kind: 'redirect'; url: string; cookies: PlainCookie[] }
  | { kind: 'failure'; reason: 'render_timeout' | 'render_error' | 'too_large'; detail: string };

export type Rendered = RenderEnd & { usage: RenderUsage };

/** Of one page. What is beyond is not loaded, and the page is read as it is by then. */
export const MAX_REQUESTS = 500;
export const MAX_BYTES = 50 * 1024 * 1024;

/** Whom a new context tells the proxy that it is: the request for it never leaves the machine. */
export const KNOCK_HOST = 'orbweaver.invalid';

/**
 * What the renderer and its thread say to each other. Each `render` is answered by one `done`, unless the browser is `gone`
 * before; then the thread ends, and so does every page in it.
 */
export type ToThread =
  | { kind: 'render'; id: number; context: string; job: RenderJob }
  | { kind: 'abort'; id: number }
  /** No page of this context is under way. */
  | { kind: 'forget'; context: string }
  | { kind: 'stop' };

export type FromThread =
  | { kind: 'ready'; version: string; pid: number | null }
  /** @param isKept false where its context is closed with it */
  | { kind: 'done'; id: number; end: RenderEnd; requests: number; ms: number; isKept: boolean }
  | { kind: 'gone'; message: string };

/** What a thread is made with. */
export interface ThreadData {
  executable: string;
  proxyPort: number;
  sandbox: boolean;
  /** Of the browser with all its processes. */
  memoryMb: number;
  /** Empty, and its own. */
  directory: string;
}
