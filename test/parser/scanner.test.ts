import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Scanner } from '../../dist/parser/scanner.js';
import { referenceTokens, scannedTokens } from './tokens.ts';

/** Markup whose reading is an oddity of htmlparser2's Tokenizer, by what it is about. */
const ODDITIES: Record<string, string[]> = {
  'text that looks like markup': ['a<', 'a<1>b', '<<a>', '</>b', '</ \n>b', '</', '</ ', '<', '< a>'],
  'comments and what passes for them': [
    'a<!-->b',
    'a<!--->b',
    'a<!---->b',
    '<!--a--!>b-->c',
    '<!-- a ---->b',
    '<!--a',
    '<!--a-',
    '<!--a--',
    '<!->a>b',
    '<!>a>b',
    '<!a>b',
    '<![CDATA[a]]]>b',
    '<![CDATA[a]]',
    '<![cdata[a]]>b',
    '<![>a',
    '</1>a',
    '<?>a<?b?>c',
  ],
  'what becomes text where the input ends': [
    '<!',
    '<!doctype',
    '<!-',
    '<![CDATA',
    '<?',
    '<?xml a',
    '</1ab',
    '</ ?a',
    '<!>a',
  ],
  'tags that the input breaks off in': [
    'b<a',
    'b<s',
    'b<sc',
    'b<STYL',
    'b<script',
    'b<xitl',
    'b<tem',
    'b<sa',
    'b<script ',
    'b</a',
    'b</ a',
  ],
  'the last character, told as text behind a name': [
    '<a /',
    '<a / ',
    '<a b/',
    '<a b="c"/ \n',
    '<a b=c/',
    '</a ',
    '</a b',
    '</a\n',
  ],
  attributes: [
    '<a =b>',
    '<a ==b>',
    '<a b = c>',
    '<a b= >c',
    '<a b=>c',
    '<a b=/>c',
    '<a b="c"d>',
    "<a b='\"'/c/ d=e/>",
    '<a b\nc\f=\rd>',
    '<a "b">',
    '<a b"c=d>',
    '<a b c',
    '<a b=',
    '<a b="c',
    '<a<b c<d>',
    '<a/b//c/ />',
    '<a b=c d=1 e f="" >',
  ],
  'raw text': [
    '<script>a<b></c></scripts></script/></SCRIPT >d',
    '<style>a</style\f b>c',
    '<title>&amp;<b></title>c',
    '<textarea><</textarea>a',
    '<xmp></xmp>a',
    '<tmp>a</tmp></xmp>b',
    '<xitle><a></title>b',
    '<script/>a<b>',
    '<script / ><b>',
    '<script/a><b></script>c',
    '<script>a</script',
    '<script>a</scri',
    '<script><</script>a',
    '<script></script<a></script>b',
    '<scripta></script>',
    '<script>\x1c\x0fscript>a',
    '<script>a\x1c/script>b</script>c',
    '<script>a<b\x1c/script>b</script>c',
    '<title>a\x1c/title>b',
    '<ſcript>a<b></script>',
  ],
};

describe('the scanner tells what htmlparser2 tells', () => {
  for (const [what, sources] of Object.entries(ODDITIES))
    it(`of ${what}, in one piece, cut once anywhere, and character by character`, () => {
      for (const source of sources) {
        const expected = referenceTokens(source);
        assert.equal(scannedTokens([source]), expected, source);
        assert.equal(scannedTokens(source.split('')), expected, `${source} by characters`);
        for (let cut = 1; cut < source.length; cut++)
          assert.equal(
            scannedTokens([source.slice(0, cut), '', source.slice(cut)]),
            expected,
            `${source} cut at ${cut}`,
          );
      }
    });

  it('and nothing after it was stopped, by whatever event', () => {
    const source = 'a<b c=d e="f">g</b><!--h--><script i>j</script k>l</m><n/></>';
    const events = referenceTokens(source);
    for (let stopAfter = 1; stopAfter <= 20; stopAfter++) {
      assert.ok(events.startsWith(scannedTokens([source], stopAfter)), `stopped after ${stopAfter}`);
      assert.ok(
        events.startsWith(scannedTokens(source.split(''), stopAfter)),
        `stopped after ${stopAfter}, by characters`,
      );
    }
  });
});

/** A scanner with what it told, by length. */
function counting() {
  const counts = { events: 0, text: 0, value: 0 };
  const count = () => {
    counts.events++;
  };
  const scanner = new Scanner({
    text: (_source, start, end) => {
      count();
      counts.text += end - start;
    },
    tag: () => {
      count();
      return true;
    },
    attribute: (_source, _nameStart, _nameEnd, valueStart, valueEnd) => {
      count();
      counts.value += valueEnd - valueStart;
    },
    tagEnd: count,
    endTag: count,
  });
  return { scanner, counts };
}

describe('chunks', () => {
  it('text and raw text are told as they come, but for what may be markup', () => {
    for (const before of ['', '<script>', '<title>']) {
      const { scanner, counts } = counting();
      scanner.write(before);
      for (let n = 1; n <= 100; n++) {
        scanner.write('1bc<');
        assert.ok(counts.text >= 4 * n - 2, `${before}: ${counts.text} of ${4 * n}`);
      }
    }
  });

  it('a comment of many chunks is passed over, wherever its end is cut', () => {
    const { scanner, counts } = counting();
    scanner.write('<!--');
    for (let n = 0; n < 100; n++) scanner.write('<a->-'.repeat(1000));
    scanner.write('->a');
    assert.deepEqual(counts, { events: 1, text: 1, value: 0 });
  });

  it('a value of ten million characters in chunks of a few is told once, whole', () => {
    const { scanner, counts } = counting();
    scanner.write('<a b="');
    for (let n = 0; n < 1_000_000; n++) scanner.write("<x y='z'> ");
    assert.deepEqual(counts, { events: 1, text: 0, value: 0 });
    scanner.write('">');
    scanner.end();
    assert.deepEqual(counts, { events: 3, text: 0, value: 10_000_000 });
  });
});
