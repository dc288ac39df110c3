import type { Browser, CDPSession, Page } from 'playwright-core';
import { KNOCK_HOST, type ThreadData } from './protocol.ts';

/** Heap of one page's scripts. */
const PAGE_HEAP_MB = 512;
const LAUNCH_MS = 30_000;

/**
 * Whatever a page tries, nothing leaves the browser but through the proxy: names are not resolved, and what would speak UDP
 * (QUIC, WebRTC) is off. Frames of other sites stay in their page's process, so that ending a page ends all of it.
 */
const FLAGS = [
  '--proxy-bypass-list=<-loopback>',
  '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
  '--disable-quic',
  // not `--force-webrtc-ip-handling-policy`: with that one, Chromium 156 sends STUN to addresses that were refused
  '--webrtc-ip-handling-policy=disable_non_proxied_udp',
  '--dns-prefetch-disable',
  '--disable-site-isolation-trials',
  '--disable-gpu',
  '--mute-audio',
  `--js-flags=--max-old-space-size=${PAGE_HEAP_MB}`,
];
/** What playwright turns off for testers, and a crawler wants: popups blocked, and pages that flood slowed down. */
const KEPT_ON = ['--disable-popup-blocking', '--disable-ipc-flooding-protection'];

/**
 * Run in every frame before its own scripts: what could speak past the proxy, or open further pages, is not there. A
 * navigation to another program (`mailto:`, `intent:`) would stop the parsing of the page, and its `load` would never come.
 */
const WITHOUT = `for (const name of ['RTCPeerConnection', 'webkitRTCPeerConnection', 'RTCDataChannel', 'WebTransport'])
  delete globalThis[name];
globalThis.open = () => null;
globalThis.print = () => {};
globalThis.navigation?.addEventListener('navigate', (event) => {
  if (!/^(https?|about|blob|data|javascript):/i.test(event.destination.url)) event.preventDefault();
});`;

/**
 * Starts Chromium with an empty environment: it has no business with the service's passwords.
 *
 * @throws Error where it cannot be started
 */
export async function launch({ executable, proxyPort, sandbox, directory }: ThreadData): Promise<Browser> {
  // Slow to load (0.7 s), and only wanted here.
  const { chromium } = await import('playwright-core');
  return chromium.launch({
    executablePath: executable,
    headless: true,
    chromiumSandbox: sandbox,
    proxy: { server: `http://127.0.0.1:${proxyPort}` },
    args: FLAGS,
    ignoreDefaultArgs: KEPT_ON,
    env: { PATH: process.env.PATH ?? '', HOME: directory, TMPDIR: directory, LANG: 'C.UTF-8' },
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
    timeout: LAUNCH_MS,
  });
}

/** The browser's process id; null where it does not tell. */
export async function processId(browser: Browser): Promise<number | null> {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  return processInfo.find(({ type }) => type === 'browser')?.id ?? null;
}

/**
 * A context that the proxy knows: it knocks once, is asked who it is, and the browser remembers the answer for every later
 * connection. (Credentials given to playwright would have every request of every page pass through it, and no cache.)
 *
 * Its one tab stays for all its pages: a new one is a new window and a new process, and took a second of CPU for each page
 * where this takes a third.
 *
 * @param secret its name at the proxy
 */
export async function newTab(browser: Browser, secret: string, verifyTls: boolean): Promise<Page> {
  const context = await browser.newContext({
    serviceWorkers: 'block',
    acceptDownloads: false,
    ignoreHTTPSErrors: !verifyTls,
  });
  await context.addInitScript(WITHOUT);
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await knock(session, secret);
  await page.goto(`http://${KNOCK_HOST}/`).catch(() => {}); // an answer without a page counts as a failure
  await session.detach();
  return page;
}

async function knock(session: CDPSession, secret: string): Promise<void> {
  session.on('Fetch.requestPaused', ({ requestId }) => {
    session.send('Fetch.continueRequest', { requestId }).catch(() => {});
  });
  session.on('Fetch.authRequired', ({ requestId }) => {
    const authChallengeResponse = { response: 'ProvideCredentials' as const, username: secret, password: '' };
    session.send('Fetch.continueWithAuth', { requestId, authChallengeResponse }).catch(() => {});
  });
  const patterns = [{ urlPattern: `http://${KNOCK_HOST}/*` }];
  await session.send('Fetch.enable', { handleAuthRequests: true, patterns });
}
