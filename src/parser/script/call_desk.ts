import { headerProblems } from '../../model/headers.ts';
import type { Answer, Question } from './broker_messages.ts';
import type { CallResult, ChildCall } from './protocol.ts';
import { LIMITS } from './protocol.ts';
import type { PageTask } from './tasks.ts';

const MAX_BODY = 100_000;
const MAX_TEXT = 4 * 1024 * 1024;
const TOO_MUCH = {
  ok: false,
  code: 'too_large',
  message: `more than ${LIMITS.fetchedBytes} bytes fetched on one page`,
} as const;

/** Asks the engine what scripts ask: bounded for each page and each crawl, and no longer than the page is where it is. */
export class CallDesk {
  readonly #ask: (owner: string, question: Question, signal: AbortSignal) => Promise<unknown>;

  constructor(ask: (owner: string, question: Question, signal: AbortSignal) => Promise<unknown>) {
    this.#ask = ask;
  }

  /**
   * Takes a call; its result goes to the page's process, unless the page has left it.
   *
   * @throws where the page has asked more than a child would let it
   */
  ask(task: PageTask, { call, question }: ChildCall): void {
    if (++task.asked > LIMITS.calls) throw new Error(`more than ${LIMITS.calls} calls on one page`);
    const { crawl, limit, runner } = task;
    const { signal } = task.stay;
    const settle = (result: CallResult, segment: Uint8Array | null): void => {
      if (!signal.aborted) runner?.settle(task, call, result, segment);
    };
    const checked = this.#check(task, question);
    if ('code' in checked) {
      settle({ ok: false, ...checked }, null);
      return;
    }
    const { explain } = crawl;
    void limit(() =>
      crawl.limit(async () => {
        if (signal.aborted) return;
        const start = performance.now();
        const answer = await this.#answer(task, checked, signal);
        if (explain) task.noteCall(checked, answer, performance.now() - start);
        this.#give(task, checked, answer, settle);
      }),
    );
  }

  /** A question that cannot even be put comes to nothing, as one without an answer. */
  async #answer({ crawl, fetchedBytes }: PageTask, question: Question, signal: AbortSignal): Promise<Answer> {
    if (question.kind === 'fetch' && fetchedBytes > LIMITS.fetchedBytes) return TOO_MUCH;
    try {
      return (await this.#ask(crawl.owner, question, signal)) as Answer;
    } catch (error) {
      return { ok: false, code: 'failed', message: `it cannot be asked: ${(error as Error).message}`.slice(0, 500) };
    }
  }

  #give(
    task: PageTask,
    question: Question,
    answer: Answer,
    settle: (result: CallResult, segment: Uint8Array | null) => void,
  ): void {
    if (!answer.ok) settle({ ok: false, code: answer.code, message: answer.message }, null);
    else if ('fetched' in answer && question.kind === 'fetch') {
      const { status, headers, body, bodyBytes } = answer.fetched;
      const head = { url: question.call.url, status, headers: definedOnly(headers) };
      // All of a page's together: what its process does not read waits here.
      task.fetchedBytes += bodyBytes;
      if (task.fetchedBytes > LIMITS.fetchedBytes) settle(TOO_MUCH, null);
      else settle({ ok: true, fetched: head }, new Uint8Array(body, 0, bodyBytes));
    } else {
      const text = ('text' in answer ? answer.text : null) ?? 'null';
      if (text.length > MAX_TEXT) settle({ ok: false, code: 'too_large', message: `${text.length} characters` }, null);
      else settle({ ok: true, fetched: null }, Buffer.from(text));
    }
  }

  /** A question as the engine may be asked, or why it may not: what the child has judged is judged again. */
  #check({ crawl }: PageTask, question: ChildCall['question']): Question | { code: string; message: string } {
    if (question.kind !== 'fetch') return question;
    const { url, method, headers, body } = question;
    const target = crawl.results.scope.call(url, url);
    if ('code' in target) return target;
    const [problem] = headerProblems(headers, '');
    if (problem !== undefined) return { code: problem.code, message: problem.message };
    if ((body?.length ?? 0) > MAX_BODY)
      return { code: 'too_large', message: `a body of more than ${MAX_BODY} characters` };
    return { kind: 'fetch', call: { url: target.url, method, headers, body } };
  }
}

function definedOnly(headers: Record<string, string | string[] | undefined>): Record<string, string | string[]> {
  const entries = Object.entries(headers).filter(
    (entry): entry is [string, string | string[]] => entry[1] !== undefined,
  );
  return Object.fromEntries(entries);
}
