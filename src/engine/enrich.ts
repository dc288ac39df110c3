import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import pLimit from 'p-limit';
import { recycle } from '../downloader/body.ts';
import { ACCEPT_ENCODING } from '../downloader/decode.ts';
import type { Downloader } from '../downloader/downloader.ts';
import type { StepAnswer } from '../model/outcome.ts';
import type { FetchResult } from '../model/response.ts';
import { USER_AGENT } from '../model/settings.ts';
import { enrichMethod } from '../model/step.ts';
import type { EnrichStep } from '../model/step_schema.ts';
import { ParserStopped } from '../parser/failure.ts';
import { Gatherer } from './gatherer.ts';

const TIMEOUT_MS = 10_000;
/** At 100 ms a call, more than a thousand a second: fewer would be what limits a fast crawl. */
const CONCURRENCY = 128;
const RETRIES = 1;
const RETRY_MS = 200;
const BATCH_LINGER_MS = 20;
const MAX_ANSWER_BYTES = 1024 * 1024;
/** Of a list of answers, or of questions. */
const MAX_LIST_BYTES = 8 * 1024 * 1024;
/** A larger answer is read in a turn of the event loop of its own: 128 of a megabyte that came together held it for 160 ms. */
const LARGE_BYTES = 64 * 1024;
const oneByOne = pLimit(1);
const RETRIED = new Set(['connect', 'dns', 'reset', 'timeout', 'http_5xx', 'http_429']);

export interface EnrichQuestion {
  url: string;
  body: string | null;
}

/** An answer, and how many calls were made for it: those of a batch are its first question's. */
export interface Asked {
  answer: StepAnswer;
  calls: number;
}

export interface EnrichCalls {
  /** With the egress policy of calls. */
  downloader: Downloader;
  /** The members of a JSON list as JSON, read off the loop; null where it is none. @throws ParserStopped */
  split: (text: string) => Promise<string[] | null>;
  /** Ends every call. */
  signal: AbortSignal;
}

/**
 * Asks an HTTP API what an enrich step wants to know. No robots.txt and no host lease: it is an API that the spider names,
 * not a site that is crawled. Redirects are not followed. Questions are rejected with ParserStopped when the signal fires.
 */
export function enricher(step: EnrichStep, calls: EnrichCalls): Gatherer<EnrichQuestion, Asked> {
  const { batch } = step;
  const concurrency = step.concurrency ?? CONCURRENCY;
  if (batch === undefined) {
    const send = async ([question]: EnrichQuestion[]) => [await ask(step, question!, MAX_ANSWER_BYTES, calls)];
    return new Gatherer({ max: 1, lingerMs: 0, concurrency, send });
  }
  return new Gatherer({
    max: batch,
    maxWeight: MAX_LIST_BYTES,
    weigh: ({ body }) => body?.length ?? 0,
    lingerMs: BATCH_LINGER_MS,
    concurrency,
    send: (questions) => askAll(step, questions, calls),
  });
}

async function askAll(step: EnrichStep, questions: readonly EnrichQuestion[], calls: EnrichCalls): Promise<Asked[]> {
  const body = `[${questions.map((question) => question.body).join(',')}]`;
  const asked = await ask(step, { url: questions[0]!.url, body }, MAX_LIST_BYTES, calls);
  const answers = await membersOf(asked.answer, questions.length, calls);
  return answers.map((answer, i) => ({ answer, calls: i === 0 ? asked.calls : 0 }));
}

async function membersOf(answer: StepAnswer, wanted: number, { split }: EnrichCalls): Promise<StepAnswer[]> {
  const all = (one: StepAnswer) => Array.from({ length: wanted }, () => one);
  if ('error' in answer) return all(answer);
  const parts = await split(answer.text).catch((error: unknown) => {
    if (error instanceof ParserStopped) throw error;
    return null;
  });
  if (parts === null) return all({ error: 'bad_json' });
  return parts.length === wanted ? parts.map((text) => ({ text })) : all({ error: 'bad_length' });
}

async function ask(
  step: EnrichStep,
  { url, body }: EnrichQuestion,
  maxBodyBytes: number,
  { downloader, signal }: EnrichCalls,
): Promise<Asked> {
  const request = {
    url,
    method: enrichMethod(step),
    headers: headersOf(step, body !== null),
    body: body ?? undefined,
    timeoutMs: step.timeoutMs ?? TIMEOUT_MS,
    maxBodyBytes,
    verifyTls: true,
  };
  for (let calls = 1; ; calls++) {
    if (signal.aborted) throw new ParserStopped('the crawl was closed');
    const result = await downloader.fetch(request, signal);
    if (signal.aborted) throw new ParserStopped('the crawl was closed');
    const error = errorOf(result);
    if (error === null || !RETRIED.has(error) || calls > (step.retries ?? RETRIES))
      return { answer: await answerOf(result, error), calls };
    await sleep(RETRY_MS * 2 ** (calls - 1) * (0.5 + Math.random()), undefined, { signal }).catch(() => {});
  }
}

function headersOf(step: EnrichStep, hasBody: boolean): Record<string, string> {
  const headers: Record<string, string> = {
    'user-agent': USER_AGENT,
    accept: 'application/json',
    'accept-encoding': ACCEPT_ENCODING,
    ...(hasBody ? { 'content-type': 'application/json' } : {}),
  };
  for (const [name, value] of Object.entries(step.headers ?? {})) headers[name.toLowerCase()] = value;
  return headers;
}

/** Null: it is an answer. */
function errorOf(result: FetchResult): string | null {
  if (result.kind === 'failure') return result.reason;
  const { status } = result;
  if (status >= 200 && status < 300) return null;
  if (status === 429) return 'http_429';
  return status < 400 ? 'redirect' : status < 500 ? 'http_4xx' : 'http_5xx';
}

/** JSON is UTF-8. It is read in a parser thread; here it is only text. */
async function answerOf(result: FetchResult, error: string | null): Promise<StepAnswer> {
  if (result.kind === 'failure') return { error: result.reason, detail: result.detail };
  if (result.bodyBytes > LARGE_BYTES) await oneByOne(() => turn());
  const text = Buffer.from(result.body, 0, result.bodyBytes).toString();
  recycle(result.body);
  return error === null ? { text } : { error, detail: `status ${result.status}` };
}
