import { readlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { KnownFingerprints } from '../model/known.ts';
import type { RenderPlan } from '../model/render.ts';
import type { ParsePlanInput } from '../model/spider.ts';
import { checkSpider } from './check.ts';
import { compareSample } from './compare.ts';
import { inputOf, kindOf } from './content.ts';
import type { Document } from './dom.ts';
import { type Explained, explainPage, explainRedirect, explainRefresh, explainSitemap } from './explain.ts';
import { boundExtras } from './extras.ts';
import { ItemSink } from './items.ts';
import { parseJson } from './json_path.ts';
import { Outbox } from './pieces.ts';
import { Plan } from './plan.ts';
import type { FromThread, JobMessage, PageJob, StepsJob, StepsResult, ThreadData, ToThread } from './protocol.ts';
import type { Answer } from './queue.ts';
import { Refusal, readPage, sitemapPage } from './read_page.ts';
import { judgeRobots } from './robots.ts';
import { planStart } from './start_requests.ts';
import { compileSteps, StepFailed } from './steps.ts';
import { TargetCache } from './targets.ts';

// The entry of a parser thread: plans come and go, each job is answered. Everything that a stranger wrote is read here.

const { known: buffer, begun, plans: open } = workerData as ThreadData;
const known = new KnownFingerprints(buffer);
const progress = new Int32Array(begun);
const outbox = new Outbox((message) => parentPort!.postMessage(message));
const targets = new TargetCache();
/** A plan is compiled at its first page, in that page's time: its selectors are a user's. */
const plans = new Map<string, ParsePlanInput | Plan>();
/** cheerio and parse5 are slow to load, so only threads with such a plan have them. */
let parseHtml5: ((html: string) => Document) | null = null;
const require = createRequire(import.meta.url);

for (const plan of open) openPlan(plan);
parentPort!.on('message', handle);
reply({ kind: 'ready', tid: threadId() });

function handle(message: ToThread): void {
  if (message.kind === 'open') openPlan(message.plan);
  else if (message.kind === 'close') closePlan(message.crawlId);
  else if (message.kind === 'more') outbox.more();
  else reply(answer(message));
}

function answer(message: JobMessage): Answer {
  const start = cpuMs();
  Atomics.store(progress, 1, start);
  Atomics.store(progress, 2, 0);
  Atomics.add(progress, 0, 1);
  const ms = () => cpuMs() - start;
  try {
    switch (message.kind) {
      case 'page': {
        const page = readPage(planOf(message.job.crawlId), message.job);
        boundExtras(page);
        page.parseMs = ms();
        return { kind: 'page', page };
      }
      case 'preview': {
        const explained = preview(message.plan, message.job);
        explained.page.parseMs = ms();
        return { kind: 'preview', ...explained, ms: ms() };
      }
      case 'render':
        return { kind: 'render', render: renderOf(message.plan, message.job), ms: ms() };
      case 'steps':
        return { kind: 'steps', items: resume(message.job), ms: ms() };
      case 'split': {
        const list = parseJson(message.job.text);
        return {
          kind: 'split',
          parts: Array.isArray(list) ? list.map((part) => JSON.stringify(part)) : null,
          ms: ms(),
        };
      }
      case 'compare':
        return { kind: 'compare', differences: compareSample(message.job), ms: ms() };
      case 'check':
        return { kind: 'check', problems: checkSpider(message.spider), ms: ms() };
      case 'start':
        return { kind: 'start', plan: planStart(message.input), ms: ms() };
      case 'robots': {
        const { text, urls, userAgent } = message.job;
        return { kind: 'robots', answer: judgeRobots(text, urls, userAgent), ms: ms() };
      }
    }
  } catch (error) {
    const code =
      error instanceof Refusal ? error.reason : error instanceof StepFailed ? 'pipeline_error' : 'parse_error';
    const text = error instanceof Error ? error.message : String(error);
    return { kind: 'failed', code, message: text.slice(0, 500), ms: ms() };
  }
}

/**
 * CPU of this thread. By the clock, a busy machine made slow crawls of quick ones, each of which opened a thread for it: 20 MB.
 * To ask takes 1.7 µs.
 */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** How a browser makes the page; null: it is read as it came. */
function renderOf(plan: ParsePlanInput | null, job: PageJob): RenderPlan | null {
  if (kindOf(job.body, job.bodyBytes, job.contentType) !== 'html') return null;
  const compiled = plan === null ? planOf(job.crawlId) : new Plan(plan, known, targets, null);
  return compiled.renderOf(job);
}

/** Items go on through the pipeline. Those that find no room any more are left out, as those of a page are. */
function resume({ crawlId, definition, waiting, answers, bytes }: StepsJob): StepsResult {
  const plan = definition === null ? planOf(crawlId) : { steps: compileSteps(definition), states: null };
  const sink = new ItemSink(plan.steps, bytes, plan.states);
  waiting.forEach((item, i) => {
    sink.resume(item, answers[i]!);
  });
  return { ...sink.outcome(), places: sink.places, flags: sink.full ? ['items'] : [] };
}

function closePlan(crawlId: string): void {
  const plan = plans.get(crawlId);
  if (plan instanceof Plan) plan.close();
  plans.delete(crawlId);
}

function openPlan(input: ParsePlanInput): void {
  closePlan(input.crawlId);
  plans.set(input.crawlId, input);
  if (input.settings.parser === 'html5') loadHtml5();
  // Its loading is no page's fault either.
  if (input.definition.pipeline?.some((step) => step.validate !== undefined))
    (require('./json_schema.js') as typeof import('./json_schema.ts')).schemaLibrary();
}

function loadHtml5(): void {
  if (parseHtml5 === null) ({ parseHtml5 } = require('./html5.js') as typeof import('./html5.ts'));
}

/** A plan of its own, compiled anew: nothing of a preview is left in the thread. */
function preview(plan: ParsePlanInput, job: PageJob): Explained {
  if (job.redirectTo !== undefined) return explainRedirect(plan, job.redirectTo, job);
  if (job.extra?.kind !== undefined) return explainSitemap(plan, (compiled) => sitemapPage(compiled, job));
  if (plan.settings.parser === 'html5') loadHtml5();
  if (job.refreshOnly === true) return explainRefresh(plan, inputOf(job), parseHtml5);
  const start = performance.now();
  const input = inputOf(job);
  // Decoded now, so that the time that takes is told by itself.
  void input?.text;
  const decodeMs = performance.now() - start;
  const explained = explainPage(plan, input, job.contentType, parseHtml5);
  explained.explanation.ms.decode = Math.round(decodeMs * 1000) / 1000;
  return explained;
}

function planOf(crawlId: string): Plan {
  const entry = plans.get(crawlId);
  if (entry === undefined) throw new Refusal('parse_error', 'the crawl is not open');
  if (entry instanceof Plan) return entry;
  Atomics.store(progress, 2, 1);
  const plan = new Plan(entry, known, targets, parseHtml5);
  plans.set(crawlId, plan);
  return plan;
}

function reply(message: FromThread): void {
  outbox.send(message);
}

/** The thread's id in the operating system; null where that is not Linux. */
function threadId(): number | null {
  try {
    return Number(readlinkSync('/proc/thread-self').split('/').at(-1));
  } catch {
    return null;
  }
}
