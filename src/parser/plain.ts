import type { PageRule } from '../model/spider.ts';
import { textOf } from './dom.ts';
import { type Data, ItemReader } from './extract.ts';
import type { PageLinks } from './links.ts';
import type { PageFacts } from './page_facts.ts';

// What a spider that has no `pages` makes of a page.

export const PLAIN_TYPE = 'page';
export const PLAIN_PAGES: readonly PageRule[] = [{ follow: [{ selector: 'a[href]' }] }];
const MAX_TEXT = 200_000;
const MAX_LINKS = 1000;
const FIELDS = new ItemReader(
  {
    fields: {
      title: 'title',
      description: { selector: 'meta[name="description" i]', value: 'content' },
      lang: { selector: 'html', value: 'lang' },
      h1: 'h1',
    },
  },
  PLAIN_TYPE,
);

/** The page's metadata, its text, and its links inside the scope. */
export function plainItem(page: PageFacts, links: PageLinks): Data {
  const { document } = page;
  const data = FIELDS.read(page, document.root);
  const body = document.byTag('body')[0] ?? document.root;
  // Runs of blanks shrink, so more than is wanted is read.
  data.text = textOf(body, MAX_TEXT * 4, true)
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, MAX_TEXT);
  data.links = links.inScope(MAX_LINKS);
  return data;
}
