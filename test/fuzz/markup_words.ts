import type { Dice } from './dice.ts';
import { TAGS } from './selector_words.ts';

// Pages of the words that the selectors are made of (selector_words.ts): small, mostly sound, and broken in every way.

const ODD_TAGS = (
  'option select optgroup dl dt dd svg math g path foreignObject form input button label br hr img script style textarea ' +
  'title noscript template tbody thead th h2 body html head iframe xmp plaintext rt rp ruby DIV A LI x-y svg:a body frame ' +
  'link meta datalist output col wbr'
).split(' ');
const CLASSES = [
  'a',
  'a',
  'b',
  'c',
  'a b',
  'b  c',
  ' a',
  'A',
  'b\ta',
  'é',
  '',
  'a&#32;b',
  'a&amp;b',
  'a:b',
  'c\na',
  'd',
];
const IDS = ['x', 'y', 'X', 'z', '&#120;', ''];
const HREFS = [
  '/x',
  'y',
  '?q=1&a=2',
  '#f',
  '',
  ' /x ',
  '//other.test/',
  'HTTP://SITE.TEST/X',
  'mailto:a',
  'javascript:;',
  '/a&amp;b',
  '/a&copy=1',
  '../up',
  'http://[',
  '/é',
  '/x#y',
  '/dir/page.html',
];
const TEXTS = [
  'a',
  'b c',
  ' ',
  '\n',
  ' a\n b ',
  '1.5',
  '1.234,50 €',
  'true',
  '2026-11-23',
  '23.11.2026',
  '/x',
  'é',
  'İ',
  '\0',
  '\u{1f600}',
  '\ufeff',
  '\r\n',
  '\u2028',
  'x y',
];
const ENTITIES = [
  '&amp;',
  '&lt;b&gt;',
  '&#233;',
  '&#xe9;',
  '&am<!-- -->p;',
  '&am<b></b>p;',
  '&amp',
  '&',
  '&nbsp;',
  '&notit;',
  '&#0;',
  '&#xd800;',
  '&nosuch;',
  '&#1234567890;',
  '&lt',
  '&#',
];
const ODD = [
  '<!-- <a href=/c>c</a> -->',
  '<!---->',
  '<!-->',
  '<!--a--!>b-->',
  '<![CDATA[<b>a</b>]]>',
  '<?php echo "<b>" ?>',
  '<!doctype html>',
  '<!a>',
  '<',
  '< a',
  '</',
  '</ a>',
  '<>',
  '</>',
  '<1>',
  '</p>',
  '</br>',
  '<br/>',
  '<script/>',
  '</div>',
  '</li></ul>',
  '</table>',
  '</body></html>',
  ']]>',
  '-->',
  '"',
  '<a',
  '<a href="',
  '<b a=\'">',
];
const RAW = [
  '<b class=a>raw</b>',
  'if (a < b) x = "</b>";',
  '<!-- </b> -->',
  '</scrip',
  '{"a":{"b":1},"n":[1,2]}',
  'a&amp;b',
  '<li>',
];
const RAW_TAGS = [
  'script',
  'style',
  'textarea',
  'title',
  'xmp',
  'iframe',
  'noscript',
  'template',
  'SCRIPT',
  'plaintext',
];
const HEADS = [
  '<base href="/other/">',
  '<base href="http://site.test/b/"><base href="/second/">',
  '<base>',
  '<base href="javascript:a">',
  '<template><base href="/t/"></template>',
  '<noscript><base href="/n/"></noscript>',
  '<meta name=robots content="noindex, nofollow">',
  '<META NAME="Robots" CONTENT="NONE">',
  '<meta name="orbweaver" content="nofollow">',
  '<meta http-equiv="Refresh" content="0; url=/next">',
  '<meta http-equiv=refresh content=\'7;URL="/later"\'>',
  '<noscript><meta http-equiv=refresh content="0;url=/no"></noscript>',
  '<meta property="og:title" content=" T &amp; t ">',
  '<meta name="twitter:card" property="og:image" content="/i.png"><meta property=og:image content=/j.png>',
  '<script type="application/ld+json">{"@type":"Product","name":"N","offers":{"@type":"Offer","price":"1.5"}}</script>',
  '<script type=" Application/LD+json; charset=x">[{"@graph":[{"@type":"Thing","name":"T"}]}]</script>',
  '<script type="application/ld+json">{"@type":"Product",</script>',
  '<script type="application/ld+json"><!-- {"@type":"Product","name":"a\nb"} --></script>',
  '<title>T &lt;b&gt; <b>t</b></title>',
  '<link rel=canonical href=/canon>',
  '<html lang=en><head></head><body class=a>',
];

const DEEPER = ['<b><i>', '<p>', '</p>', '<a href=/x>', '<svg><g/>', '<table><tr><td>'];

/** What many selectors find. */
const COMMON = [
  '<ul class=a><li>1<li class=b><a href=/x id=x>2</a></ul>',
  '<div class=a><p class="a b">1.5<p><a class=b href="/y">y</a> z</div>',
  '<table><tr><td class=a>1<td><b>2</b><tr><td>3</table>',
];

/** A page of some hundred characters. @param canBeDeep few are, of thousands of elements in each other or side by side */
export function markup(dice: Dice, canBeDeep = true): string {
  const deepest = dice.pick([2, 3, 3, 4, 5]);
  let page = dice.chance(25) ? '<!DOCTYPE html>' : '';
  for (let heads = dice.pick([0, 0, 0, 1, 1, 2]); heads > 0; heads--) page += dice.pick(HEADS);
  page += dice.some(2, 6, () => node(dice, deepest)).join('');
  if (dice.chance(4)) page += dice.pick(HEADS);
  if (dice.chance(30)) page += dice.pick(COMMON);
  if (dice.chance(0.3)) page = huge(dice, page, canBeDeep);
  return page;
}

/** The same, beyond a limit. */
function huge(dice: Dice, page: string, canBeDeep: boolean): string {
  const tag = dice.pick(TAGS);
  const n = 505 + dice.below(20);
  const names = Array.from({ length: 995 + dice.below(12) }, (_, i) => `a${i}`).join(' ');
  return dice.one(
    [canBeDeep ? 3 : 0, () => `<${tag}>`.repeat(n) + page + `</${tag}>`.repeat(dice.pick([n, n - 3, 1, 0])) + page],
    [1, () => `<${tag} ${names} class=a data-a=1 href=/x>${page}</${tag}>`],
    [canBeDeep ? 1 : 0, () => dice.pick(DEEPER).repeat(n) + page],
  );
}

function node(dice: Dice, depth: number): string {
  return dice.one(
    [4, () => text(dice)],
    [depth > 0 ? 16 : 0, () => element(dice, depth)],
    [1, () => rawElement(dice)],
    [2, () => dice.pick(ODD)],
  );
}

function text(dice: Dice): string {
  return dice.one(
    [5, () => dice.pick(TEXTS)],
    [1, () => dice.pick(ENTITIES)],
    [1, () => dice.pick(TEXTS) + dice.pick(ENTITIES)],
  );
}

function element(dice: Dice, depth: number): string {
  const tag = dice.chance(85) ? dice.pick(TAGS) : dice.pick(ODD_TAGS);
  const children = dice.some(0, depth > 1 ? 3 : 1, () => node(dice, depth - 1)).join('');
  const close = dice.chance(2) ? '/' : '';
  return `<${tag}${attributes(dice, tag)}${close}>${children}${endOf(dice, tag)}`;
}

function endOf(dice: Dice, tag: string): string {
  return dice.one(
    [16, () => `</${tag}>`],
    [2, () => ''],
    [1, () => `</${dice.pick(TAGS)}>`],
    [1, () => `</${tag.toUpperCase()} a="b"\n>`],
    [1, () => `</${tag}></${tag}>`],
  );
}

function rawElement(dice: Dice): string {
  const tag = dice.pick(RAW_TAGS);
  const inside = dice.some(0, 2, () => dice.pick(RAW)).join('');
  return `<${tag}${attributes(dice, tag)}>${inside}${dice.chance(90) ? `</${tag}>` : ''}`;
}

function attributes(dice: Dice, tag: string): string {
  let all = (tag === 'a' || tag === 'A') && dice.chance(75) ? attribute(dice, 'href', dice.pick(HREFS)) : '';
  for (let more = dice.pick([0, 0, 1, 1, 1, 2, 3]); more > 0; more--) all += anyAttribute(dice);
  return all;
}

function anyAttribute(dice: Dice): string {
  return dice.one(
    [8, () => attribute(dice, 'class', dice.pick(CLASSES))],
    [3, () => attribute(dice, 'id', dice.pick(IDS))],
    [2, () => attribute(dice, 'href', dice.pick(HREFS))],
    [
      3,
      () =>
        attribute(
          dice,
          'data-a',
          dice.pick(['a', 'b', 'A', 'a b', 'x-y', '{"n":[1,2],"a":{"b":3}}', 'é', '1', '&amp;', 'İ']),
        ),
    ],
    [2, () => attribute(dice, 'rel', dice.pick(['nofollow', 'NOFOLLOW ugc', 'a', 'next nofollow\n', 'nofollows']))],
    [1, () => attribute(dice, 'lang', dice.pick(['en', 'x-y', 'A', '']))],
    [1, () => attribute(dice, 'type', dice.pick(['text', 'TEXT', 'checkbox', 'radio']))],
    [
      1,
      () =>
        dice.pick([
          ' checked',
          ' selected',
          ' a',
          ' =',
          ' a=b=c',
          ' a a',
          '/',
          ' \0=x',
          ' __proto__=1',
          ' data-é=a',
          ' "',
          '\n',
        ]),
    ],
  );
}

function attribute(dice: Dice, name: string, value: string): string {
  const written = dice.chance(6) ? name.toUpperCase() : name;
  if (dice.chance(3)) return ` ${written}`;
  const bare = /^[^\s"'<>=`]+$/.test(value) && dice.chance(35);
  if (bare) return ` ${written}=${value}`;
  const equals = dice.chance(4) ? ' =\n' : '=';
  const quote = value.includes('"') || dice.chance(30) ? "'" : '"';
  return ` ${written}${equals}${quote}${value}${quote}`;
}
