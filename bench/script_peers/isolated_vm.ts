// The script in an isolate of V8, selectors outside. `isolated-vm` is looked for in SCRIPT_PEERS: it is no dependency of
// this project.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type Document, textOf } from '../../dist/parser/dom.js';
import { Selector } from '../../dist/parser/selector.js';
import { collapse } from '../../dist/parser/transforms.js';
import { parseFast } from '../../dist/parser/tree.js';
import { type Extracted, work } from './work.ts';

interface Ivm {
  Isolate: new (
    options: object,
  ) => {
    createContextSync(): {
      global: { setSync(name: string, value: unknown): void };
      evalSync(code: string, options: object): { applySync(self: undefined, args: unknown[]): string };
    };
  };
  Callback: new (work: (...args: string[]) => unknown) => unknown;
}

const require = createRequire(join(process.env.SCRIPT_PEERS ?? '', 'package.json'));
const ivm = require('isolated-vm') as Ivm;
const context = new ivm.Isolate({ memoryLimit: 64 }).createContextSync();
const selectors = new Map<string, Selector>();
let document: Document;

function all(text: string) {
  let selector = selectors.get(text);
  if (selector === undefined) {
    selector = new Selector(text, false);
    selectors.set(text, selector);
  }
  return selector.all(document, document.root);
}
context.global.setSync(
  'texts',
  new ivm.Callback((text) => JSON.stringify(all(text!).map((element) => collapse(textOf(element, 1e6))))),
);
context.global.setSync(
  'attrs',
  new ivm.Callback((text, name) => JSON.stringify(all(text!).map((element) => element.attribute(name!)))),
);
const run = context.evalSync(
  `(() => JSON.stringify({
    item: { title: JSON.parse(texts('title'))[0], h1: JSON.parse(texts('h1'))[0], h2: JSON.parse(texts('h2')) },
    links: JSON.parse(attrs('a[href]', 'href')).filter((href) => /\\.html(?:#|$)/.test(href)),
  }))`,
  { reference: true },
);

await work(({ html }) => {
  document = parseFast(html);
  return JSON.parse(run.applySync(undefined, [])) as Extracted;
});
