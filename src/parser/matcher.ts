import { type Automaton, DIRECTIVES, JSON_LD, type Opening, type Step } from './automaton.ts';
import type { PageInput } from './content.ts';
import { CODE, Document, type Element, KeptElement, type Matches, type TextLog, TREE_LIMITS } from './dom.ts';
import { chunksOf } from './early_end.ts';
import { Markup } from './markup.ts';
import { Notes } from './notes.ts';
import type { Source } from './source_text.ts';

/*
 * The runtime of `automaton.ts`: reads a page once and keeps the elements that a query wants.
 *
 * For each step the matcher knows the innermost open element that has taken it, and the last earlier sibling, each as the frame
 * that it is (or was) in and as a *first*: the place in the page of the element that the chain's first step was taken by. An
 * open element overrides what is outside of it, so what it overrides is noted and put back when it ends. An element thus costs
 * what it matches, not what is asked; and an element nothing is asked of costs a few integers.
 *
 * Of several ways to match, the one that begins last is kept. It is that of the innermost open element, or of the last sibling:
 * what is around an element is around its later siblings and all inside of them, and what is before it is before them, so to
 * the inner and later one leads all that leads to the other. So «matched below this scope» is a comparison, `first >= scope.at`,
 * whatever scopes lie in each other, and selectors inside of `each` need no run of their own for each of its elements.
 *
 * The result is a document of the kept elements alone. Its texts are one list; an element's text is a run of it, so that
 * a text is held once however many kept elements it lies in.
 */

const NONE = -1;
/** Kinds of notes, and how many: what is put back when an element ends. */
const [OPEN, SIBLING, SCOPE, KINDS] = [0, 1, 2, 3] as const;
/** Bits of what is asked of a name: steps may be taken by it, it is a script or style. */
const [STEPS, IS_CODE] = [1, 2] as const;

const NOTHING = new Document();
const noTexts = (): TextLog => ({ texts: [], parents: [], codes: [] });

/** Reads pages for one automaton, one after the other. */
export class Matcher extends Markup implements Opening {
  /** Of the element that begins. */
  name = 0;
  index = 0;
  isRoot = false;
  attributes: string[] | null = null;
  readonly #automaton: Automaton;
  /** By name: `STEPS`, `IS_CODE`, both or nothing. Of names beyond it, the last. */
  readonly #asked: Uint8Array;
  /** Of the tag that is read. */
  #asks = 0;
  /** By step: the innermost open element that took it, and the first of its chain. */
  readonly #openFrame: Int32Array;
  readonly #openFirst: Int32Array;
  /** By step: the last element that took it among the children of an open frame. */
  readonly #siblingFrame: Int32Array;
  readonly #siblingIndex: Int32Array;
  readonly #siblingFirst: Int32Array;
  /** By step: queries beyond it that are not satisfied. */
  readonly #wanted: Int32Array;
  /** By query: open elements that match it. */
  readonly #scopes: Int32Array;
  /** By query: the place of the innermost of them. */
  readonly #scopeAt: Int32Array;
  readonly #notes = new Notes();
  /** By frame: elements inside, so far. */
  readonly #children = new Int32Array(TREE_LIMITS.depth + 2);
  readonly #types: Map<number, number>[] = [];
  /** By frame; null: nothing wants the element. */
  readonly #kept: (KeptElement | null)[] = new Array(TREE_LIMITS.depth + 2).fill(null);
  /** By frame: queries that wait for the element's text. */
  readonly #waiting = new Int32Array(TREE_LIMITS.depth + 2);
  readonly #logs = new Uint8Array(TREE_LIMITS.depth + 2);
  readonly #codeFrames = new Uint8Array(TREE_LIMITS.depth + 2);
  /** Steps that the last element takes if nothing comes in it, and their firsts. */
  readonly #pending: number[] = [];
  #document = NOTHING;
  #log = noTexts();
  /** By query; nothing for the page's own. */
  #matches: Matches[] = [];
  /** The one that begins; null: nobody has asked for it. */
  #element: KeptElement | null = null;
  /** Frame of its parent. */
  #parent = 0;
  /** Elements so far. */
  #count = 0;
  /** Scripts and styles that are open. */
  #codes = 0;
  /** Open elements whose text is wanted. */
  #logging = 0;
  /** Queries of the spider that want more. */
  #unsatisfied = 0;
  /** The innermost of the page's own directives that is open, else the root. */
  #inside: Element = this.#document.root;

  constructor(automaton: Automaton) {
    super(automaton.names);
    this.#automaton = automaton;
    const { steps, queries } = automaton;
    const stepsOf = (name: number) => (automaton.byName[name] ?? automaton.anyTag).length > 0;
    this.#asked = Uint8Array.from(
      [...automaton.names.list, ''],
      (name, number) => (stepsOf(number) ? STEPS : 0) | (CODE.has(name) ? IS_CODE : 0),
    );
    this.#openFrame = new Int32Array(steps.length);
    this.#openFirst = new Int32Array(steps.length);
    this.#siblingFrame = new Int32Array(steps.length);
    this.#siblingIndex = new Int32Array(steps.length);
    this.#siblingFirst = new Int32Array(steps.length);
    this.#wanted = new Int32Array(steps.length);
    this.#scopes = new Int32Array(queries.length);
    this.#scopeAt = new Int32Array(queries.length);
  }

  /** The kept elements of a page, which is decoded part by part. */
  read(page: Pick<PageInput, 'text' | 'parts'>): Document {
    this.#reset();
    const { endsEarly } = this.#automaton;
    const isSatisfied = () => this.#unsatisfied === 0 && !this.isInTag;
    this.scan(chunksOf(page, endsEarly ? isSatisfied : null));
    return this.#handOver();
  }

  /** Keeps nothing of the page: a matcher waits longer for the next than it reads, and what it held would live as long. */
  #handOver(): Document {
    const document = this.#document;
    document.root.last = this.#count - 1;
    this.#document = NOTHING;
    this.#log = noTexts();
    this.#matches = [];
    this.#element = null;
    this.attributes = null;
    return document;
  }

  #reset(): void {
    const { queries, wanted } = this.#automaton;
    this.#log = noTexts();
    this.#matches = queries.map(() => ({ elements: [], firsts: [] }));
    const found = new Map<object, Matches>();
    queries.forEach((query, number) => {
      if (query !== null) found.set(query.selector, this.#matches[number]!);
    });
    this.#document = new Document(false, this.flags, found);
    this.#inside = this.#document.root;
    this.#openFrame.fill(NONE);
    this.#siblingFrame.fill(NONE);
    this.#wanted.set(wanted);
    this.#scopes.fill(0);
    this.#notes.clear();
    this.#children[0] = 0;
    this.#types[0]?.clear();
    this.#pending.length = 0;
    this.#waiting.fill(0);
    this.#logs.fill(0);
    this.#kept.fill(null);
    this.#codeFrames.fill(0);
    this.#element = null;
    this.#count = 0;
    this.#codes = 0;
    this.#logging = 0;
    this.#unsatisfied = found.size;
  }

  element(): KeptElement {
    if (this.#element === null) {
      const name = this.names.list[this.name]!;
      const code = this.#codes + (CODE.has(name) ? 1 : 0);
      this.#element = new KeptElement(name, this.#inside, this.#count - 1, this.attributes, this.#log, code);
    }
    return this.#element;
  }

  indexOfType(): number {
    return this.#types[this.#parent]!.get(this.name)! - 1;
  }

  protected wants(name: number): boolean {
    this.attributes = null;
    this.#asks = this.#asked[Math.min(name, this.#asked.length - 1)]!;
    return (this.#asks & STEPS) !== 0;
  }

  protected attributeOf(source: Source, number: number, from: number, to: number): void {
    if (this.#automaton.attributes[number] !== 1) return;
    const name = this.names.list[number]!;
    if (this.attributes === null) this.attributes = [name, source.text.slice(from, to)];
    else this.attributes.push(name, source.text.slice(from, to));
  }

  protected begin(name: number, frame: number): void {
    this.#count++;
    this.index = this.#children[frame - 1]!++;
    this.#children[frame] = 0;
    if (this.#pending.length > 0) this.#pending.length = 0;
    if (this.#automaton.countsTypes) this.#countType(name, frame);
    if (this.#asks !== 0) this.#ask(name, frame);
  }

  protected end(frame: number): void {
    if (this.#pending.length > 0) this.#takePending(frame);
    if (this.#notes.frame === frame) this.#finish(frame);
  }

  protected characters(source: Source, start: number, end: number, frame: number, joins: boolean): void {
    if (this.#pending.length > 0) this.#pending.length = 0;
    if (this.#logging === 0) return;
    const { texts, parents, codes } = this.#log;
    const text = source.text.slice(start, end);
    if (joins) texts[texts.length - 1] += text;
    else {
      texts.push(text);
      // Only scripts and styles are asked for the texts right inside of them.
      parents.push(this.#kept[frame]?.at ?? NONE);
      codes.push(this.#codes);
    }
  }

  /** What is asked of the element that begins. */
  #ask(name: number, frame: number): void {
    if ((this.#asks & STEPS) !== 0) {
      const { byName, anyTag } = this.#automaton;
      const steps = name < byName.length ? byName[name]! : anyTag;
      this.name = name;
      this.isRoot = frame === 1;
      this.#parent = frame - 1;
      this.#element = null;
      for (let i = 0; i < steps.length; i++) this.#try(steps[i]!, frame);
    }
    if ((this.#asks & IS_CODE) === 0) return;
    this.#notes.of(frame);
    this.#codeFrames[frame] = 1;
    this.#codes++;
  }

  #finish(frame: number): void {
    const before = this.#notes.end();
    this.#codes -= this.#codeFrames[frame]!;
    this.#codeFrames[frame] = 0;
    if (this.#kept[frame] !== null) this.#leave(frame);
    if (this.#notes.length > before) this.#putBack(before, frame - 1);
  }

  #countType(name: number, frame: number): void {
    this.#types[frame - 1] ??= new Map();
    const types = this.#types[frame - 1]!;
    types.set(name, (types.get(name) ?? 0) + 1);
    this.#types[frame]?.clear();
  }

  /** Takes a step where the element that begins is one for it. */
  #try(number: number, frame: number): void {
    if (this.#wanted[number] === 0) return;
    const step = this.#automaton.steps[number]!;
    const first = this.#firstFor(step, frame - 1);
    if (first === NONE || (step.test !== null && !step.test(this))) return;
    if (step.isEmpty) {
      this.element();
      this.#pending.push(number, first);
    } else this.#take(number, step, first, frame);
  }

  /** The first of the chain that leads to a step from where the element is; `NONE`: none does. */
  #firstFor({ relation, before }: Step, parent: number): number {
    switch (relation) {
      case 'none':
        return this.#count - 1;
      case 'ancestor':
        return this.#openFrame[before] === NONE ? NONE : this.#openFirst[before]!;
      case 'parent':
        return this.#openFrame[before] === parent ? this.#openFirst[before]! : NONE;
      case 'previous':
        if (this.#siblingIndex[before] !== this.index - 1) return NONE;
        return this.#siblingFrame[before] === parent ? this.#siblingFirst[before]! : NONE;
      case 'earlier':
        return this.#siblingFrame[before] === parent ? this.#siblingFirst[before]! : NONE;
    }
  }

  #take(number: number, { continues, accepts }: Step, first: number, frame: number): void {
    this.#notes.of(frame);
    if (continues) {
      this.#notes.add(number * KINDS + OPEN, this.#openFrame[number]!, this.#openFirst[number]!, 0);
      this.#openFrame[number] = frame;
      this.#openFirst[number] = first;
    }
    for (const query of accepts) this.#keep(query, first, frame);
  }

  /** What is taken at the element's end is beside nothing that is inside of it. */
  #takePending(frame: number): void {
    for (let i = 0; i < this.#pending.length; i += 2) {
      const number = this.#pending[i]!;
      this.#take(number, this.#automaton.steps[number]!, this.#pending[i + 1]!, frame);
    }
    this.#pending.length = 0;
  }

  #keep(number: number, first: number, frame: number): void {
    const scope = this.#automaton.within[number]!;
    if (scope !== NONE && this.#scopes[scope] === 0) return;
    const query = this.#automaton.queries[number]!;
    const element = this.element();
    this.#kept[frame] ??= element;
    if (query === null) {
      this.#keepOwn(number, element, frame);
      return;
    }
    const { elements, firsts } = this.#matches[number]!;
    // Two alternatives of a selector may both match; which first is the last was not known before.
    if (elements.at(-1) === element) {
      firsts[firsts.length - 1] = Math.max(firsts.at(-1)!, first);
      return;
    }
    const isOne = !query.many && scope === NONE;
    if (isOne && elements.length > 0) return;
    // The innermost open scope has its first match, so all around it have: this one is nobody's.
    const inner = scope === NONE ? 0 : this.#scopeAt[scope]!;
    if (!query.many && scope !== NONE && elements.length > 0 && elements.at(-1)!.at > inner && firsts.at(-1)! >= inner)
      return;
    elements.push(element);
    firsts.push(first);
    if (query.text) this.#logFrom(element, frame);
    if (isOne) this.#satisfy(number, query.text, frame);
    if (this.#automaton.isScope[number] === 0) return;
    this.#scopes[number]!++;
    this.#notes.add(number * KINDS + SCOPE, this.#scopeAt[number]!, 0, 0);
    this.#scopeAt[number] = element.at;
  }

  /** A directive of the page, or its JSON-LD. */
  #keepOwn(number: number, element: KeptElement, frame: number): void {
    const { elements } = this.#document;
    if (elements.at(-1) !== element) elements.push(element);
    if (number === JSON_LD) this.#logFrom(element, frame);
    if (number === DIRECTIVES) this.#inside = element;
  }

  /** A query that wants no more than one match has it; its text is whole at the element's end. */
  #satisfy(number: number, text: boolean, frame: number): void {
    for (const step of this.#automaton.paths[number]!) this.#wanted[step]!--;
    if (text) this.#waiting[frame]!++;
    else this.#unsatisfied--;
  }

  #logFrom(element: KeptElement, frame: number): void {
    if (this.#logs[frame] === 1) return;
    this.#logs[frame] = 1;
    this.#logging++;
    element.from = this.#log.texts.length;
  }

  /** A kept element ends. */
  #leave(frame: number): void {
    const element = this.#kept[frame]!;
    element.last = this.#count - 1;
    this.#kept[frame] = null;
    if (this.#inside === element) this.#inside = element.parent!;
    if (this.#logs[frame] === 0) return;
    this.#logs[frame] = 0;
    this.#logging--;
    element.to = this.#log.texts.length;
    this.#unsatisfied -= this.#waiting[frame]!;
    this.#waiting[frame] = 0;
  }

  /** An element ends: puts back what it noted, and is from now on an earlier sibling. @param frame the parent's */
  #putBack(before: number, frame: number): void {
    const siblings: number[] = [];
    const { list, length } = this.#notes;
    for (let at = length - 4; at >= before; at -= 4) {
      const what = list[at]!;
      const number = Math.floor(what / KINDS);
      const [a, b, c] = [list[at + 1]!, list[at + 2]!, list[at + 3]!];
      if (what % KINDS === SCOPE) {
        this.#scopes[number]!--;
        this.#scopeAt[number] = a;
      } else if (what % KINDS === OPEN) {
        if (this.#automaton.steps[number]!.hasSiblings) siblings.push(number, this.#openFirst[number]!);
        this.#openFrame[number] = a;
        this.#openFirst[number] = b;
      } else {
        this.#siblingFrame[number] = a;
        this.#siblingIndex[number] = b;
        this.#siblingFirst[number] = c;
      }
    }
    this.#notes.length = before;
    for (let i = 0; i < siblings.length; i += 2) this.#passed(siblings[i]!, siblings[i + 1]!, frame);
  }

  #passed(number: number, first: number, frame: number): void {
    // What it replaces is a sibling, or lies further out and comes back when the parent ends.
    const frames = this.#siblingFrame;
    const indexes = this.#siblingIndex;
    const firsts = this.#siblingFirst;
    const what = number * KINDS + SIBLING;
    this.#notes.of(frame);
    if (frames[number] !== frame) this.#notes.add(what, frames[number]!, indexes[number]!, firsts[number]!);
    frames[number] = frame;
    indexes[number] = this.#children[frame]! - 1;
    firsts[number] = first;
  }
}
