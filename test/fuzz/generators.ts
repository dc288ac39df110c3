/** What the fuzzers feed in: definitions that are nearly right, and markup that is nearly markup. */
import fc from 'fast-check';

/** Cases in all: few with every test run, many by `npm run fuzz`. A definition costs ten times what a page does. */
const CASES = Number(process.env.FUZZ_CASES ?? 200);
export const DEFINITIONS = Math.ceil(CASES / 10);
export const PAGES = CASES - DEFINITIONS;

const SELECTORS = [
  'h1',
  'a[href]',
  'ul > li:nth-child(2n+1)',
  'div p ~ a',
  ':not(b):is(i, u)',
  '*',
  'a::attr(href)',
  'p::text',
  'x:has(> y)',
  'div:contains("a")',
  '[data-a="1" i]',
  'a:::b',
  'p >',
  '##',
  '',
  ':nth-child(',
  'a,',
  'svg|rect',
  ':scope > b',
  '\u0000',
  '//h1',
];
const XPATHS = [
  '//a/@href',
  './/li[2]',
  '//p[contains(., "a")]',
  'string(//h1)',
  'count(//a)',
  '//*[@id="x"]/..',
  '//a[',
  '',
  'doc("x")',
  '//text()',
  'following-sibling::*[1]',
  '//ns:a',
  'for $x in 1 to 10 return $x',
  '//a | //b',
];
const PATHS = [
  'a',
  'a.b[0]',
  'a[*].b',
  'length(a)',
  'sort_by(a, &b)',
  '[',
  '',
  'a || b',
  '@',
  'Product.name',
  'Product.offers.price',
  '.',
];
const REGEXES = ['(\\d+)', '^(a+)+$', '[', '(?=x)', '(a)\\1', '', '\\p{L}+', '(?:', '.*'];
const PATTERNS = ['/a/', '*', '?q=', 'https://site.test/*', '//site.test/', '$', '***', '/a$', '\ud800'];
const URLS = [
  'https://site.test/',
  '/a?b={value}',
  'mailto:a',
  'http://[',
  '{x}',
  '//',
  'https://site.test/{value}{value}',
];
const NAMES = ['title', '__proto__', 'constructor', 'a.b', '', 'x'.repeat(300), 'ü', '\u0000'];
const WORDS = [
  'number',
  'date',
  'url',
  'markdown',
  'html',
  'boolean',
  'integer',
  'nummer',
  'text',
  'href',
  'innerHTML',
  'de',
  'xx-invalid-locale-tag',
];

const oneOf = (list: readonly string[]) => fc.constantFrom(...list);
/** A value where another one belongs. */
const anything = fc.jsonValue({ maxDepth: 2 });
/** Mostly what belongs there, sometimes anything. */
const mostly = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 30, arbitrary }, { weight: 1, arbitrary: anything });
/** An object with some of these members, and now and then one that nobody knows. */
const some = (members: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> =>
  mostly(
    fc
      .tuple(fc.record(members, { requiredKeys: [] }), fc.option(fc.tuple(oneOf(NAMES), anything), { freq: 20 }))
      .map(([object, extra]) => (extra === null ? object : { ...object, [extra[0]]: extra[1] })),
  );
const list = (arbitrary: fc.Arbitrary<unknown>) => mostly(fc.array(arbitrary, { maxLength: 2 }));

const { field } = fc.letrec<{ field: unknown; object: unknown }>((tie) => ({
  object: some({
    selector: oneOf(SELECTORS),
    xpath: oneOf(XPATHS),
    json: oneOf(PATHS),
    jsonld: oneOf(PATHS),
    microdata: oneOf(PATHS),
    opengraph: oneOf(NAMES),
    meta: oneOf(['url', 'status', 'header:x', 'param:a', 'passed:b', 'nothing']),
    value: fc.oneof(oneOf(WORDS), fc.dictionary(oneOf(NAMES), tie('field'), { maxKeys: 3 })),
    as: oneOf(WORDS),
    locale: oneOf(WORDS),
    match: oneOf(REGEXES),
    default: anything,
  }),
  field: fc.oneof(
    { maxDepth: 2, withCrossShrink: true },
    oneOf(SELECTORS),
    fc.tuple(oneOf(SELECTORS)),
    tie('object'),
    fc.array(tie('object'), { maxLength: 2 }),
  ),
}));
const fields = mostly(fc.dictionary(oneOf(NAMES), field, { maxKeys: 2 }));
const patterns = list(fc.oneof(oneOf(PATTERNS), fc.record({ regex: oneOf(REGEXES) })));
const request = some({
  method: oneOf(['GET', 'POST', 'BREW']),
  headers: fc.dictionary(oneOf(NAMES), oneOf(NAMES), { maxKeys: 2 }),
  form: fc.dictionary(oneOf(NAMES), oneOf(URLS), { maxKeys: 2 }),
  json: anything,
  body: oneOf(URLS),
});
const each = fc.oneof(oneOf(SELECTORS), fc.record({ xpath: oneOf(XPATHS) }), fc.record({ json: oneOf(PATHS) }));
const item = some({ type: oneOf(WORDS), each, fields, required: list(oneOf(NAMES)), key: list(oneOf(NAMES)) });
const follow = some({
  selector: oneOf(SELECTORS),
  xpath: oneOf(XPATHS),
  json: oneOf(PATHS),
  form: oneOf(SELECTORS),
  value: oneOf(WORDS),
  match: oneOf(REGEXES),
  url: oneOf(URLS),
  values: fc.dictionary(oneOf(NAMES), oneOf(URLS), { maxKeys: 2 }),
  request,
  page: oneOf(WORDS),
  pass: fields,
  allow: patterns,
  deny: patterns,
  priority: fc.integer(),
  maxDepth: fc.integer(),
});
const schema = fc.oneof(
  anything,
  fc.constantFrom<unknown>(
    { type: 'object', required: ['title'] },
    { type: 'nothing' },
    { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } },
    { properties: { title: { pattern: '(' } } },
    { $ref: 'https://site.test/schema.json' },
  ),
);
const step = some({
  type: oneOf(WORDS),
  validate: schema,
  dedupe: some({ key: list(oneOf(NAMES)), scope: oneOf(['crawl', 'spider', 'world']) }),
  enrich: some({
    url: oneOf(URLS),
    method: oneOf(['GET', 'POST']),
    send: fc.dictionary(oneOf(NAMES), oneOf(NAMES), { maxKeys: 2 }),
    set: fc.dictionary(oneOf(NAMES), oneOf(PATHS), { maxKeys: 2 }),
    batch: fc.integer(),
  }),
  lookup: some({
    connection: oneOf(NAMES),
    query: oneOf(['select 1', 'drop table x', '$1']),
    params: list(oneOf(NAMES)),
    set: fc.dictionary(oneOf(NAMES), oneOf(NAMES), { maxKeys: 2 }),
  }),
  drop: some({
    field: oneOf(NAMES),
    missing: fc.boolean(),
    equals: anything,
    match: oneOf(REGEXES),
    below: fc.double(),
  }),
  rename: fc.dictionary(oneOf(NAMES), oneOf(NAMES), { maxKeys: 2 }),
  pick: list(oneOf(NAMES)),
  set: fc.dictionary(oneOf(NAMES), anything, { maxKeys: 2 }),
});

/** A definition: its parts are known words in known places, right, wrong, or something else altogether. */
export const definitions = some({
  name: oneOf(NAMES),
  params: schema,
  startUrls: list(oneOf(URLS)),
  sitemaps: list(oneOf(URLS)),
  scope: some({ hosts: list(oneOf(URLS)), subdomains: fc.boolean(), allow: patterns, deny: patterns }),
  pages: list(some({ name: oneOf(WORDS), match: patterns, items: list(item), follow: list(follow) })),
  pipeline: list(step),
  settings: some({ parser: oneOf(['fast', 'html5', 'slow']), maxDepth: fc.integer() }),
});

const TAGS = (
  'a abbr b base body br button caption col colgroup dd details div dl dt em fieldset figure font form frameset h1 h2 head hr ' +
  'html i iframe img input label li link main math mi meta nobr noscript ol optgroup option p plaintext pre rp ruby s script ' +
  'section select small span style svg table tbody td template textarea tfoot th thead title tr u ul xmp foreignObject'
).split(' ');
const ENTITIES = [
  '&amp;',
  '&lt',
  '&#0;',
  '&#x110000;',
  '&#xd800;',
  '&notin;',
  '&not',
  '&',
  '&;',
  '&#',
  '&#x',
  '&nosuch;',
  '&#39',
];
const ODD = [
  '<',
  '>',
  '</',
  '<!',
  '<?',
  '<!--',
  '-->',
  '--!>',
  '<![CDATA[',
  ']]>',
  '<!doctype html>',
  '<!DOCTYPE',
  '/>',
  '=',
  '"',
  "'",
  '\0',
  '\ufeff',
  '\u2028',
  '\ud83d',
  '\r\n',
  '\t',
  '</p>',
  '</br>',
  '<//a>',
  '<a<b>',
  '</ a>',
  '<a/b/c>',
  '<1>',
];
const ATTRIBUTES = [
  ' href="/a?b=1&c=2#d"',
  " href='//other.test/'",
  ' href=x',
  ' href',
  ' href="javascript:void(0)"',
  ' href="http://[::"',
  ' class="a b"',
  ' id=i',
  ' rel=nofollow',
  ' style="x',
  ' itemscope',
  ' itemprop="name"',
  ' property="og:title" content="t"',
  ' name=robots content=nofollow',
  ' type="application/ld+json"',
  ' =',
  ' "',
  ' a=b=c',
  ' a a a',
  ' \0=x',
  ' __proto__="1"',
  ' data-x="&quot;&amp;',
];

const piece = fc.oneof(
  fc
    .tuple(oneOf(TAGS), fc.array(oneOf(ATTRIBUTES), { maxLength: 3 }))
    .map(([tag, attributes]) => `<${tag}${attributes.join('')}>`),
  oneOf(TAGS).map((tag) => `</${tag}>`),
  oneOf(ENTITIES),
  oneOf(ODD),
  fc.string({ maxLength: 8, unit: 'binary' }),
  fc.constantFrom('{"@type":"Product","name":"x"}', '{"a":', '[[[[', 'plain text ', '1.234,50 €', '23.11.2026'),
);

/** Markup as the html5lib tests have it: broken nesting, foreign content, tables, raw text, entities, half tags. */
export const markup = fc.oneof(
  fc.array(piece, { maxLength: 60 }).map((pieces) => pieces.join('')),
  // The same piece over and over finds what grows with depth or length.
  fc.tuple(piece, fc.integer({ min: 1, max: 3000 })).map(([text, n]) => text.repeat(n)),
);

const HALF_TOKENS = (
  '< > </ <! <!- <!-- -- - -> --> <![ <![CDATA[ <![CDA [CDATA[ ]] ]]> > ] <? ?> / /> = " \' a A b 1 é ı İ 😀 &amp; & s t x ' +
  '<s <t <x <sc <scrip <ti <te <script <SCRIPT> <script> <script/> <script\u00a0> </script </script> </scr ript> </ſcript> ' +
  '<style <style> </STYLE> <title> </title </title> <xitle> <textarea> </textarea> <xextarea> </texta rea> <xmp> </xmp> <tmp> </xm ' +
  'p> <svg> </svg> <a/b <br/> </a> </p/> <1 </1 \0 \x1c \x0f \x1c\x0fscript \ud800'
).split(' ');
const SPACES = [
  ' ',
  '\n',
  '\t',
  '\f',
  '\r',
  '\v',
  '</ ',
  '</style ',
  '</a b',
  ' b="',
  "='",
  '<a href="x">',
  '<a b=c',
  '<a b = "c" d',
];

/** Rows of what tokens of markup begin and end with, also of those that begin like another. */
export const tokens = fc
  .array(oneOf([...HALF_TOKENS, ...SPACES]), { minLength: 1, maxLength: 14 })
  .map((pieces) => pieces.join(''));
