/** Named transforms: what `as` may say. */
export const TRANSFORMS = [
  'text',
  'trim',
  'number',
  'integer',
  'boolean',
  'date',
  'url',
  'html',
  'markdown',
  'lowercase',
  'uppercase',
] as const;
export type Transform = (typeof TRANSFORMS)[number];
/** What `meta` may say by itself. */
export const META_FIELDS = ['url', 'status', 'depth', 'fetchedAt'] as const;
/** What `meta` may say with a name behind it: `header:content-language`, `param:category`, `passed:title`. */
export const META_PREFIXES = ['header:', 'param:', 'passed:'] as const;
/** Where a field may be read from; each excludes the others, but for `selector` with `json`. */
export const SOURCES = ['selector', 'xpath', 'json', 'jsonld', 'microdata', 'opengraph', 'meta'] as const;
export type Source = (typeof SOURCES)[number];

/**
 * One field, in the dialect of cheerio's `extract`: a selector, a list of one field, or an object. Inside a part of JSON
 * (below `each: { json }`, or nested in a field with `json`, `jsonld` or `microdata`) a plain string is JMESPath from that
 * part, not a selector.
 */
export type Field = string | readonly [Field] | FieldObject;
export interface FieldObject {
  /** CSS. */
  selector?: string;
  /** XPath 3.1. */
  xpath?: string;
  /** JMESPath over a JSON response, or over the part of it that is read; with `selector`: over the JSON in that element or attribute. */
  json?: string;
  /** `Product.brand.name`: type and path in the page's JSON-LD. */
  jsonld?: string;
  /** `Product.name`: type and path in the page's microdata. */
  microdata?: string;
  /** `title`, `image:width`, `article:author`: a property of Open Graph. */
  opengraph?: string;
  /** One of `META_FIELDS`, or a name behind one of `META_PREFIXES`. */
  meta?: string;
  /** An attribute's name, or nested fields. Absent: the text. */
  value?: string | { [name: string]: Field };
  as?: Transform;
  /** BCP 47: how `number`, `integer` and `date` are written on the site. */
  locale?: string;
  /** RE2; the first group, or the whole match. */
  match?: string;
  default?: unknown;
}
export type Fields = { [name: string]: Field };
