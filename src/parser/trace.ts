import type { TreeReason } from '../model/explanation.ts';
import type { Source } from '../model/field.ts';
import type { FoundLink } from './links.ts';

/** A selector of a spider, and what it found on the traced page. */
interface Traced {
  pointer: string;
  source: Source | 'each' | 'follow';
  text: string;
  hits: number;
  /** Times that it was asked: once for each item. */
  asked: number;
  /** Of these, times that the field's default stood in. */
  defaulted: number;
}

/**
 * What one page made of a spider, for its explanation. A plan that is compiled with a trace counts, all others have no
 * counters at all.
 */
export class Trace {
  readonly fields: Traced[] = [];
  /** Names of the page entries that the page was given to. */
  readonly pages: string[] = [];
  /** What failed on this page, in words, by the pointer of its selector. */
  readonly faults = new Map<string, string>();
  /** Every link with the rule that decided. */
  links: readonly FoundLink[] = [];
  /** Why a crawl makes the page into a tree, too; null: it is no HTML. */
  tree: TreeReason[] | null = null;
  /** Milliseconds by stage. */
  readonly ms: Record<string, number> = {};

  /** Announces a selector; what comes back counts for it. */
  field(pointer: string, source: Traced['source'], text: string): Traced {
    const traced = { pointer, source, text, hits: 0, asked: 0, defaulted: 0 };
    this.fields.push(traced);
    return traced;
  }

  /** Keeps why an expression found nothing. @param fault as its engine says it; null: it did not fail */
  fail(pointer: string, what: 'an XPath' | 'a JMESPath', fault: string | null): void {
    if (fault !== null) this.faults.set(pointer, `${what} failed on this page: ${fault}`);
  }

  /** Adds the time since `from`, of `performance.now`. */
  time(stage: string, from: number): void {
    this.ms[stage] = (this.ms[stage] ?? 0) + performance.now() - from;
  }
}
