// Run by Deno: the script and the page's tree are in the same engine, so that a selector costs no crossing; the wall is
// Deno's permissions alone, inside the process.
import { textOf } from '../../dist/parser/dom.js';
import { Selector } from '../../dist/parser/selector.js';
import { collapse } from '../../dist/parser/transforms.js';
import { parseFast } from '../../dist/parser/tree.js';
import { work } from './work.ts';

const [title, h1, h2, anchors] = ['title', 'h1', 'h2', 'a[href]'].map((text) => new Selector(text, false));

await work(({ html }) => {
  const document = parseFast(html);
  const first = (selector: Selector) => {
    const element = selector.first(document, document.root);
    return element === null ? null : collapse(textOf(element, 1e6));
  };
  const hrefs = anchors!.all(document, document.root).map((element) => element.attribute('href')!);
  return {
    item: {
      title: first(title!),
      h1: first(h1!),
      h2: h2!.all(document, document.root).map((element) => collapse(textOf(element, 1e6))),
    },
    links: hrefs.filter((href) => /\.html(?:#|$)/.test(href)),
  };
});
