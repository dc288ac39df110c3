import type { Document, Element } from './dom.ts';
import { decodeAttribute, decodeText } from './entities.ts';

const RAW = new Set(['script', 'style']);
/** Prefixes that XPath knows by itself; all others stand for themselves. */
const BUILT_IN = new Map([
  ['xml', 'http://www.w3.org/XML/1998/namespace'],
  ['xs', 'http://www.w3.org/2001/XMLSchema'],
  ['fn', 'http://www.w3.org/2005/xpath-functions'],
  ['math', 'http://www.w3.org/2005/xpath-functions/math'],
  ['map', 'http://www.w3.org/2005/xpath-functions/map'],
  ['array', 'http://www.w3.org/2005/xpath-functions/array'],
]);
const NONE: readonly TreeNode[] = [];

/** The namespace that a prefix stands for: a page's prefixes are names and nothing more. */
export function namespaceOf(prefix: string): string | null {
  return prefix === '' ? null : (BUILT_IN.get(prefix) ?? `prefix:${prefix}`);
}

/** A node as XPath engines see it. Its fields have the names of the DOM's, which fontoxpath reads. */
export class TreeNode {
  /** 1 element, 2 attribute, 3 text, 9 document. */
  readonly nodeType: 1 | 2 | 3 | 9;
  readonly nodeName: string;
  readonly localName: string;
  readonly prefix: string;
  readonly namespaceURI: string | null;
  readonly parent: TreeNode | null;
  /** Null but for elements. */
  readonly element: Element | null;
  readonly #tree: Tree;
  #source: string;
  #data: string | null = null;
  #children: TreeNode[] | null = null;
  #attributes: TreeNode[] | null = null;
  /** Place among its parent's children; set with them. */
  index = 0;

  constructor(tree: Tree, nodeType: 1 | 2 | 3 | 9, name: string, parent: TreeNode | null, of: Element | string) {
    this.#tree = tree;
    this.nodeType = nodeType;
    this.nodeName = name;
    const colon = name.indexOf(':');
    const prefixed = colon > 0 && colon < name.length - 1;
    this.prefix = prefixed ? name.slice(0, colon) : '';
    this.localName = prefixed ? name.slice(colon + 1) : name;
    this.namespaceURI = namespaceOf(this.prefix);
    this.parent = parent;
    this.element = typeof of === 'string' ? null : of;
    this.#source = typeof of === 'string' ? of : '';
  }

  get isDocument(): boolean {
    return this.nodeType === 9;
  }

  /** The decoded value of an attribute or a text. */
  get data(): string {
    this.#data ??=
      this.nodeType === 2
        ? decodeAttribute(this.#source)
        : RAW.has(this.parent?.nodeName ?? '')
          ? this.#source
          : decodeText(this.#source);
    return this.#data;
  }

  get children(): readonly TreeNode[] {
    if (this.element === null) return NONE;
    this.#children ??= this.element.children.map((child, index) => {
      const node = typeof child === 'string' ? new TreeNode(this.#tree, 3, '#text', this, child) : this.#tree.of(child);
      node.index = index;
      return node;
    });
    return this.#children;
  }

  get attributes(): readonly TreeNode[] {
    const list = this.nodeType === 1 ? this.element!.attributes : null;
    if (list === null) return NONE;
    if (this.#attributes === null) {
      const byName = new Map<string, TreeNode>();
      for (let i = 0; i < list.length; i += 2)
        if (!byName.has(list[i]!)) byName.set(list[i]!, new TreeNode(this.#tree, 2, list[i]!, this, list[i + 1]!));
      this.#attributes = [...byName.values()];
    }
    return this.#attributes;
  }

  /** The text of all below it, as XPath's `string()` has it: scripts count. */
  get text(): string {
    if (this.element === null) return this.data;
    let text = '';
    const stack: TreeNode[] = [this];
    while (stack.length > 0) {
      const node = stack.pop()!;
      if (node.element === null) text += node.data;
      else for (let i = node.children.length - 1; i >= 0; i--) stack.push(node.children[i]!);
    }
    return text;
  }
}

/** A document's elements as nodes; texts and attributes are made when they are asked for. */
class Tree {
  readonly #root: TreeNode;
  readonly #nodes: TreeNode[] = [];

  constructor(document: Document) {
    this.#root = new TreeNode(this, 9, '#document', null, document.root);
    for (const element of document.elements)
      this.#nodes.push(new TreeNode(this, 1, element.name, this.of(element.parent!), element));
  }

  of(element: Element): TreeNode {
    return element.at < 0 ? this.#root : this.#nodes[element.at]!;
  }
}

const trees = new WeakMap<Document, Tree>();

/** Built at a page's first XPath (0.1 ms for 16 KB) and kept as long as the page. */
export function treeOf(document: Document): Tree {
  let tree = trees.get(document);
  if (tree === undefined) {
    tree = new Tree(document);
    trees.set(document, tree);
  }
  return tree;
}
