import { parentPort, workerData } from 'node:worker_threads';
import type { Browser, Page } from 'playwright-core';
import { launch, newTab, processId } from './browser.ts';
import { treeMemoryMb } from './memory.ts';
import type { FromThread, RenderJob, ThreadData, ToThread } from './protocol.ts';
import { visit, within } from './visit.ts';

// The entry of the renderer's thread. All that a browser says is read here: what a page makes it say may be megabytes, or
// thousands of messages, and none of it is to be read on the event loop.

const data = workerData as ThreadData;
/** For a page that burns, on a machine that has much to do. */
const CLOSE_MS = 15_000;
const MEMORY_EVERY_MS = 500;

/** By the secret of their contexts at the proxy. */
const tabs = new Map<string, { page: Page; verifyTls: boolean }>();
const visits = new Map<number, AbortController>();

let browser: Browser;
let pid: number | null = null;
let isStopping = false;
try {
  browser = await launch(data);
  pid = await processId(browser);
  browser.on('disconnected', () => isStopping || end('the browser ended'));
  reply({ kind: 'ready', version: browser.version(), pid });
  parentPort!.on('message', (message: ToThread) => void handle(message));
} catch (error) {
  end(error instanceof Error ? error.message : String(error));
}
const watch = setInterval(checkMemory, MEMORY_EVERY_MS);

async function handle(message: ToThread): Promise<void> {
  switch (message.kind) {
    case 'render':
      return render(message.id, message.context, message.job);
    case 'abort':
      visits.get(message.id)?.abort(new Error('it was given up'));
      return;
    case 'forget':
      return forget(message.context);
    case 'stop':
      clearInterval(watch);
      isStopping = true;
      await browser.close();
      process.exit();
  }
}

async function render(id: number, secret: string, job: RenderJob): Promise<void> {
  const giveUp = new AbortController();
  visits.set(id, giveUp);
  const from = performance.now();
  try {
    const page = await tabFor(secret, job.verifyTls);
    const { end: made, requests, ms, isClean } = await visit(page, job, giveUp.signal);
    const moved = made.kind === 'page' ? [made.html.buffer] : [];
    reply({ kind: 'done', id, end: made, requests, ms, isKept: isClean }, moved);
    if (!isClean) await forget(secret);
  } catch (error) {
    const detail = (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
    await forget(secret);
    const failed = { kind: 'failure' as const, reason: 'render_error' as const, detail };
    reply({ kind: 'done', id, end: failed, requests: 0, ms: performance.now() - from, isKept: false });
  } finally {
    visits.delete(id);
  }
}

async function tabFor(secret: string, verifyTls: boolean): Promise<Page> {
  const known = tabs.get(secret);
  if (known?.verifyTls === verifyTls) return known.page;
  await forget(secret);
  const page = await newTab(browser, secret, verifyTls);
  tabs.set(secret, { page, verifyTls });
  return page;
}

/** Closes a context with whatever page is in it. Where the browser cannot even do that, it ends. */
async function forget(secret: string): Promise<void> {
  const known = tabs.get(secret);
  if (known === undefined) return;
  tabs.delete(secret);
  if (!(await within(CLOSE_MS, known.page.context().close()))) end('a page could not be closed');
}

function checkMemory(): void {
  if (pid === null || visits.size === 0) return;
  const used = treeMemoryMb(pid);
  if (used !== null && used > data.memoryMb) end(`the browser used more than ${data.memoryMb} MB of memory`);
}

/** The renderer ends the browser and this thread. */
function end(message: string): void {
  reply({ kind: 'gone', message: message.slice(0, 1000) });
}

function reply(message: FromThread, moved: ArrayBuffer[] = []): void {
  parentPort!.postMessage(message, moved);
}
