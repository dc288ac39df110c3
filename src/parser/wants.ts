import type { TreeReason } from '../model/explanation.ts';
import type { Selector } from './selector.ts';

/** What a spider's page entry wants of a selector. */
export interface Query {
  selector: Selector;
  /** Whose matches it is asked below; null: the whole page. */
  within: Query | null;
  /** Every match, not the first alone. */
  many: boolean;
  /** The text of its matches. */
  text: boolean;
  /** JSON pointer of the selector in the spider. */
  at: string;
}

/** What a page entry wants of a page, written down while the entry is compiled. */
export class Wants {
  readonly queries: Query[] = [];
  /** Attributes that are read, in lower case. */
  readonly attributes = new Set<string>();
  readonly obstacles: TreeReason[] = [];
  /** The page's JSON-LD. */
  jsonLd = false;
  /** The page's metas, all of them. */
  metas = false;

  query(selector: Selector, within: Query | null, many: boolean, at: string): Query {
    const query: Query = { selector, within, many, text: false, at };
    this.queries.push(query);
    return query;
  }

  /** @param text of what needs the tree. @param why in words for the spider's author */
  refuse(pointer: string, text: string, why: string): void {
    this.obstacles.push({ pointer, text, why });
  }
}
