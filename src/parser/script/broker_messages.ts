import type { Explanation } from '../../model/explanation.ts';
import type { LogLine, ParsedPage } from '../../model/outcome.ts';
import type { ParsePlanInput, Problem } from '../../model/spider.ts';
import type { FailureReason, PageJob } from '../protocol.ts';
import type { Launch } from './boundary.ts';
import type { FetchCall, FetchedCall } from './calls.ts';

// What the node and its broker thread say to each other.

/** What a script is, as far as it tells without a page. */
export interface Described {
  name: string | null;
  startUrls: string[];
  callbacks: string[];
  problems: Problem[];
}

/** A call of a script, as the engine is asked. */
export type Question =
  | { kind: 'fetch'; call: FetchCall }
  | { kind: 'lookup'; connection: string; query: string; params: unknown[] }
  | { kind: 'read'; key: string };

/** Its answer. */
export type Answer =
  | { ok: true; fetched: FetchedCall }
  /** JSON. */
  | { ok: true; text: string | null }
  | { ok: false; code: string; message: string };

export type ToBroker =
  | { kind: 'open'; plan: ParsePlanInput }
  | { kind: 'close'; crawlId: string }
  | { kind: 'page'; id: number; job: PageJob }
  | { kind: 'preview'; id: number; plan: ParsePlanInput; job: PageJob; owner: string }
  | { kind: 'describe'; id: number; script: string }
  | { kind: 'answer'; call: number; answer: Answer }
  | { kind: 'stop' };

/** What ends a job, by its id. */
export type BrokerReply =
  | { kind: 'done'; id: number; page: ParsedPage; explanation: Explanation | null }
  | { kind: 'described'; id: number; described: Described }
  | { kind: 'failed'; id: number; reason: FailureReason; message: string; logs: LogLine[] }
  | { kind: 'stopped'; id: number };

export type FromBroker =
  | BrokerReply
  | { kind: 'call'; call: number; owner: string; question: Question }
  | { kind: 'abort'; call: number }
  | { kind: 'log'; message: string; detail: object }
  | { kind: 'ended' };

/** What the thread is given when it starts. */
export interface BrokerData {
  launch: Launch;
  processes: number;
  /** `KnownFingerprints.buffer`. */
  known: SharedArrayBuffer;
  /** Two Int32: busy processes, kills. */
  counts: SharedArrayBuffer;
}
