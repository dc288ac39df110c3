import type { LogLine } from '../model/outcome.ts';
import type { FailureReason } from './protocol.ts';
import type { Answer } from './queue.ts';

/** Why a page, a check or a robots.txt came to nothing; `reason` is the ledger's. */
export class ParseFailure extends Error {
  readonly reason: FailureReason;
  /** What the page's script had logged. */
  readonly logs: readonly LogLine[];
  constructor(reason: FailureReason, message: string, logs: readonly LogLine[] = []) {
    super(message);
    this.reason = reason;
    this.logs = logs;
  }
}

/** The job was not done and nothing is wrong with it: the pool was stopped, or its crawl closed. */
export class ParserStopped extends Error {}

/**
 * Why a page's thread ended.
 *
 * @param tooLong what the watchdog ended it for
 * @param code of the thread's error; null: it just ended
 */
export function failureOf(tooLong: string | undefined, code: string | null, message: string): ParseFailure {
  if (tooLong !== undefined) return new ParseFailure('parse_timeout', tooLong);
  if (code === 'ERR_WORKER_OUT_OF_MEMORY')
    return new ParseFailure('parse_memory', 'it needs more memory than a parser thread has');
  return new ParseFailure('parse_error', `its thread ended: ${code ?? 'exit'} ${message}`.slice(0, 500));
}

/** A thread answered another job than it was given. */
export function unexpected(answer: Answer): Error {
  return new Error(`a parser thread answered ${answer.kind}`);
}
