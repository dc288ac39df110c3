import type { PageRule } from '../model/spider.ts';
import { dateOf } from './dates.ts';
import type { Document } from './dom.ts';
import { type Data, ItemReader } from './extract.ts';
import type { PageLinks } from './links.ts';
import { markdownOf } from './markdown.ts';
import type { PageFacts } from './page_facts.ts';
import { jsonLd, openGraph } from './structured.ts';

// What a spider that has no `pages` makes of a page.

export const PLAIN_TYPE = 'page';
export const PLAIN_PAGES: readonly PageRule[] = [{ name: PLAIN_TYPE, follow: [{ selector: 'a[href]' }] }];
/** Characters of a page's Markdown. */
const MAX_MARKDOWN = 200_000;
const MAX_LINKS = 1000;
const MAX_PROPERTIES = 50;
const MAX_DATE = 200;
const FIELDS = new ItemReader(
  {
    fields: {
      title: 'title',
      description: { selector: 'meta[name="description" i]', value: 'content' },
      lang: { selector: 'html', value: 'lang' },
    },
  },
  PLAIN_TYPE,
);
const CANONICAL = new ItemReader(
  { fields: { url: { selector: 'link[rel~="canonical" i]', value: 'href', as: 'url' } } },
  PLAIN_TYPE,
);

/** The page's main content as Markdown, its links inside the scope, and what it says of itself. */
export function plainItem(page: PageFacts, contentType: string | null, links: PageLinks): Data {
  const { document, base } = page;
  const data = FIELDS.read(page, document.root);
  data.markdown = markdownOf(document.root, document, { base, limit: MAX_MARKDOWN, main: true });
  data.links = links.inScope(MAX_LINKS);
  data.metadata = {
    canonical: CANONICAL.read(page, document.root).url,
    published: dateIn(page, 'article:published_time', 'datePublished'),
    modified: dateIn(page, 'article:modified_time', 'dateModified'),
    og: openGraphOf(document),
    status: page.status,
    contentType,
  };
  return data;
}

/** The first value of each property, `og:` left away. */
function openGraphOf(document: Document): Data {
  const properties: Data = Object.create(null);
  for (const [name, [value]] of openGraph(document).entries().take(MAX_PROPERTIES)) properties[name] = value;
  return properties;
}

/** A date in ISO 8601 that Open Graph or JSON-LD gives; null: none. */
function dateIn(page: PageFacts, property: string, name: string): string | null {
  const given = [
    ...(openGraph(page.document).get(property) ?? []),
    ...jsonLd(page.document).map((node) => own(node, name)),
  ];
  const text = given.find((value) => typeof value === 'string');
  return typeof text === 'string' ? dateOf(text.slice(0, MAX_DATE), null, Date.parse(page.fetchedAt)) : null;
}

function own(node: unknown, name: string): unknown {
  const isObject = typeof node === 'object' && node !== null;
  return isObject && Object.hasOwn(node, name) ? (node as Record<string, unknown>)[name] : undefined;
}
