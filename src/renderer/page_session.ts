import type { CDPSession, Page } from 'playwright-core';
import type { RenderLoad } from '../model/render.ts';
import { headerOf } from '../model/response.ts';
import { MAX_REQUESTS, type RenderJob } from './protocol.ts';

type Protocol = Parameters<CDPSession['send']>[0];
interface Paused {
  requestId: string;
  frameId: string;
  resourceType: string;
  request: { url: string; method: string; headers: Record<string, string> };
}

const RESOURCE_TYPES: Record<RenderLoad, string> = {
  image: 'Image',
  font: 'Font',
  media: 'Media',
  stylesheet: 'Stylesheet',
};
/** What a page's answer says to the browser beyond its text. The rest is the downloader's: cookies, caching, transport. */
const KEPT_HEADERS = ['content-security-policy', 'referrer-policy', 'content-language', 'last-modified'];
/** Requests that stay open by design; a page that has one is quiet all the same. */
const OPEN_ENDED = new Set(['EventSource', 'WebSocket', 'Ping']);

/**
 * What passes between one page and the network. The page itself is answered from what was fetched; kinds that are not wanted
 * are refused; a navigation elsewhere is told and not followed; all other requests go their way and are counted.
 */
export class PageSession {
  /** Requests that left for the network. */
  requests = 0;
  /** It wanted more than it may have (`render_limit`), or to be loaded again (`render_reload`). */
  readonly flags = new Set<string>();
  /** A navigation of the page's was not followed. */
  hasRefused = false;
  /** Where the page sends the browser. */
  readonly redirected: Promise<string>;
  /** Its `load` event. Not playwright's word for it, which never comes where the page began to navigate before. */
  readonly loaded: Promise<void>;
  readonly #cdp: CDPSession;
  readonly #job: RenderJob;
  readonly #loading = new Set<string>();
  #frame: string | null = null;
  #served = 0;
  /** What was last asked to be navigated to was named by a meta element. */
  #isRefresh = false;
  #quietSince = performance.now();
  #redirect: (url: string) => void;
  #load: () => void;

  private constructor(cdp: CDPSession, job: RenderJob) {
    this.#cdp = cdp;
    this.#job = job;
    const redirected = Promise.withResolvers<string>();
    const loaded = Promise.withResolvers<void>();
    [this.redirected, this.loaded] = [redirected.promise, loaded.promise];
    [this.#redirect, this.#load] = [redirected.resolve, loaded.resolve];
  }

  static async start(page: Page, job: RenderJob): Promise<PageSession> {
    const cdp = await page.context().newCDPSession(page);
    const session = new PageSession(cdp, job);
    await session.#listen();
    return session;
  }

  /** Milliseconds for which nothing has been loading; 0 while something is. */
  get quietMs(): number {
    return this.#loading.size > 0 ? 0 : performance.now() - this.#quietSince;
  }

  /** The page as it is now; null: it is longer than it may be. In a world of its own, which the page's scripts cannot reach. */
  async read(): Promise<string | null> {
    const { executionContextId } = await this.#cdp.send('Page.createIsolatedWorld', { frameId: this.#frame ?? '' });
    const expression = `(() => {
      const type = document.doctype === null ? '' : new XMLSerializer().serializeToString(document.doctype);
      const text = document.documentElement === null ? '' : document.documentElement.outerHTML;
      return type.length + text.length > ${this.#job.maxBytes} ? null : type + text;
    })()`;
    const { result } = await this.#cdp.send('Runtime.evaluate', {
      expression,
      contextId: executionContextId,
      returnByValue: true,
    });
    return typeof result.value === 'string' ? result.value : null;
  }

  /** Its requests are no longer looked at. */
  end(): Promise<void> {
    return this.#cdp.detach();
  }

  async #listen(): Promise<void> {
    const { userAgent, acceptLanguage, ownHeaders, plan, url } = this.#job;
    const cdp = this.#cdp;
    cdp.on('Fetch.requestPaused', (event) => this.#paused(event));
    cdp.on('Page.frameRequestedNavigation', ({ frameId, reason }) => {
      if (frameId === this.#frame) this.#isRefresh = reason === 'metaTagRefresh';
    });
    cdp.on('Page.loadEventFired', () => this.#served > 0 && this.#load());
    cdp.on('Network.requestWillBeSent', ({ requestId, type = 'Other', request }) =>
      this.#sent(requestId, type, request.url),
    );
    cdp.on('Network.loadingFinished', ({ requestId }) => this.#ended(requestId));
    cdp.on('Network.loadingFailed', ({ requestId }) => this.#ended(requestId));
    const refused = Object.entries(RESOURCE_TYPES).filter(([name]) => !plan.load.includes(name as RenderLoad));
    const patterns = ['Document', 'Other', ...refused.map(([, type]) => type)].map((resourceType) => ({
      urlPattern: '*',
      resourceType: resourceType as 'Document',
    }));
    const own = Object.keys(ownHeaders).length === 0 ? [] : [{ urlPattern: `${new URL(url).origin}/*` }];
    await Promise.all([
      cdp.send('Page.enable'),
      cdp.send('Network.enable'),
      cdp.send('Fetch.enable', { patterns: [...patterns, ...own] }),
      cdp.send('Emulation.setUserAgentOverride', { userAgent, acceptLanguage }),
    ]);
  }

  #sent(id: string, type: string, url: string): void {
    if (!/^https?:/.test(url)) return;
    this.requests++;
    if (!OPEN_ENDED.has(type)) this.#loading.add(id);
    if (this.requests > MAX_REQUESTS) this.#cutOff();
  }

  #ended(id: string): void {
    if (this.#loading.delete(id) && this.#loading.size === 0) this.#quietSince = performance.now();
  }

  /** It has had enough, and is read at once: what asks without end would go on for its whole time. */
  #cutOff(): void {
    if (this.flags.has('render_limit')) return;
    this.flags.add('render_limit');
    this.#load();
    this.#send('Network.emulateNetworkConditions', {
      offline: true,
      latency: 0,
      downloadThroughput: 0,
      uploadThroughput: 0,
    });
  }

  #paused({ requestId, frameId, resourceType, request }: Paused): void {
    this.#frame ??= frameId;
    if (resourceType === 'Document' && frameId === this.#frame) this.#navigated(requestId, request);
    else if (this.#isUnwanted(resourceType, request)) {
      this.requests--;
      this.#send('Fetch.failRequest', { requestId, errorReason: 'BlockedByClient' });
    } else {
      const isOwn = URL.parse(request.url)?.origin === URL.parse(this.#job.url)?.origin;
      const sent = isOwn ? { headers: headerList({ ...request.headers, ...this.#job.ownHeaders }) } : {};
      this.#send('Fetch.continueRequest', { requestId, ...sent });
    }
  }

  /** The icon of the page, which nobody sees, is an image as well; the browser does not call it one. */
  #isUnwanted(resourceType: string, { headers }: Paused['request']): boolean {
    const type = resourceType === 'Other' && /^image\//.test(headers.Accept ?? '') ? 'Image' : resourceType;
    const { load } = this.#job.plan;
    return Object.entries(RESOURCE_TYPES).some(([name, one]) => one === type && !load.includes(name as RenderLoad));
  }

  /**
   * The first is the page itself; where it loads itself again (it may have set a cookie), it gets the same once more. What else
   * its scripts or a refresh bring up is a request of its own, not the browser's.
   */
  #navigated(requestId: string, { url, method }: Paused['request']): void {
    this.requests--;
    const isAgain = url === this.#job.url && method === 'GET';
    if (this.#served > 0 && isAgain) this.flags.add('render_reload');
    if (this.#served === 0 || (this.#served === 1 && isAgain)) {
      this.#served++;
      this.#send('Fetch.fulfillRequest', { requestId, ...answerOf(this.#job) });
      return;
    }
    this.hasRefused = true;
    this.#send('Fetch.failRequest', { requestId, errorReason: 'Aborted' });
    const isWanted = !this.#isRefresh || this.#job.followsRefresh;
    if (method === 'GET' && !isAgain && isWanted) this.#redirect(url);
    // A page that was about to go is not loaded any further.
    else this.#load();
  }

  /** The page may be gone by then. */
  #send(method: Protocol, params: object): void {
    this.#cdp.send(method, params as never).catch(() => {});
  }
}

function answerOf({ status, responseHeaders, body, bodyBytes }: RenderJob) {
  const type = headerOf(responseHeaders, 'content-type') ?? 'text/html';
  const kept = Object.fromEntries(
    KEPT_HEADERS.flatMap((name) =>
      [responseHeaders[name]].flat().flatMap((value) => (value === undefined ? [] : [[name, value]])),
    ),
  ) as Record<string, string>;
  return {
    responseCode: status,
    responseHeaders: headerList({ 'content-type': type, ...kept }),
    body: Buffer.from(body, 0, bodyBytes).toString('base64'),
  };
}

function headerList(headers: Record<string, string>): { name: string; value: string }[] {
  return Object.entries(headers).map(([name, value]) => ({ name, value }));
}
