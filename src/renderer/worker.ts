import { parentPort, workerData } from 'node:worker_threads';
import type { Browser, BrowserContext } from 'playwright-core';
import { launch, newContext, processId } from './browser.ts';
import { treeMemoryMb } from './memory.ts';
import type { FromThread, RenderJob, ThreadData, ToThread } from './protocol.ts';
import { visit, within } from './visit.ts';

// The entry of the renderer's thread. All that a browser says is read here: what a page makes it say may be megabytes, or
// thousands of messages, and none of it is to be read on the event loop.

const data = workerData as ThreadData;
const CLOSE_MS = 3000;
const MEMORY_EVERY_MS = 500;

/** By their secret at the proxy. */
const contexts = new Map<string, { context: BrowserContext; verifyTls: boolean }>();
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
    const context = await contextFor(secret, job.verifyTls);
    const { end: made, requests, ms, isClean } = await visit(context, job, giveUp.signal);
    if (!isClean) await forget(secret);
    const moved = made.kind === 'page' ? [made.html.buffer] : [];
    reply({ kind: 'done', id, end: made, requests, ms, isKept: isClean }, moved);
  } catch (error) {
    const detail = (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
    await forget(secret);
    const failed = { kind: 'failure' as const, reason: 'render_error' as const, detail };
    reply({ kind: 'done', id, end: failed, requests: 0, ms: performance.now() - from, isKept: false });
  } finally {
    visits.delete(id);
  }
}

async function contextFor(secret: string, verifyTls: boolean): Promise<BrowserContext> {
  const known = contexts.get(secret);
  if (known?.verifyTls === verifyTls) return known.context;
  await forget(secret);
  const context = await newContext(browser, secret, verifyTls);
  contexts.set(secret, { context, verifyTls });
  return context;
}

/** Closes a context with whatever page is in it. Where the browser cannot even do that, it ends. */
async function forget(secret: string): Promise<void> {
  const known = contexts.get(secret);
  if (known === undefined) return;
  contexts.delete(secret);
  if (!(await within(CLOSE_MS, known.context.close()))) end('a page could not be closed');
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
