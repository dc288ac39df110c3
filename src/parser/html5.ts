import { load } from 'cheerio';
import type { AnyNode, Document as CheerioDocument, ParentNode } from 'domhandler';
import { Document, Element, sourceForm, TREE_LIMITS } from './dom.ts';

const RAW = new Set(['script', 'style', 'xmp', 'iframe', 'noembed', 'noframes', 'noscript', 'plaintext']);

/**
 * The tree of an HTML page as browsers build it (parse5, through cheerio), in the same shape as `parseFast` gives. parse5
 * builds its own tree first: a hostile page may take seconds and a gigabyte there, which the thread's limits end.
 */
export function parseHtml5(source: string): Document {
  const from = load(source).root()[0] as CheerioDocument;
  const document = new Document();
  const state = { document, nodes: 0 };
  const pending: Frame[] = [{ from, to: document.root, next: 0, depth: 0 }];
  while (pending.length > 0) {
    const frame = pending.at(-1)!;
    const child = frame.from.children[frame.next++];
    if (child === undefined) {
      frame.to.last = document.elements.length - 1;
      pending.pop();
    } else if (!copy(state, frame, child, pending)) break;
  }
  for (const { to } of pending) to.last = document.elements.length - 1;
  return document;
}

interface Frame {
  from: ParentNode;
  to: Element;
  next: number;
  depth: number;
}

/** Copies one node; an element's children follow by a frame of their own. False when the page has too many nodes. */
function copy(state: { document: Document; nodes: number }, frame: Frame, child: AnyNode, pending: Frame[]): boolean {
  const { document } = state;
  if (child.type !== 'text' && !('attribs' in child)) return true;
  if (state.nodes++ >= TREE_LIMITS.nodes) {
    document.flags.add('nodes');
    return false;
  }
  if (child.type === 'text') {
    frame.to.children.push(RAW.has(frame.to.name) ? child.data : sourceForm(child.data));
  } else if ('attribs' in child) {
    const deep = frame.depth > TREE_LIMITS.depth;
    if (deep) document.flags.add('depth');
    const parent = deep ? frame.to.parent! : frame.to;
    const attributes = attributesOf(document, child.attribs);
    const element = new Element(child.name.toLowerCase(), parent, document.elements.length, attributes);
    document.elements.push(element);
    parent.children.push(element);
    pending.push({ from: child, to: element, next: 0, depth: frame.depth + (deep ? 0 : 1) });
  }
  return true;
}

function attributesOf(document: Document, attribs: Record<string, string>): string[] | null {
  let entries = Object.entries(attribs);
  if (entries.length === 0) return null;
  if (entries.length > TREE_LIMITS.attributes) {
    document.flags.add('attributes');
    entries = entries.slice(0, TREE_LIMITS.attributes);
  }
  return entries.flatMap(([name, value]) => [name.toLowerCase(), value.replaceAll('&', '&amp;')]);
}
