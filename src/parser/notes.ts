import { TREE_LIMITS } from './dom.ts';

/**
 * What open elements have to put back when they end: rows of four numbers, those of inner elements behind those of outer ones.
 * Few elements have any, and the innermost of them is known, so that the end of every other one costs a comparison.
 */
export class Notes {
  /** The innermost open frame that has something to do at its end; 0: none. */
  frame = 0;
  readonly list: number[] = [];
  /** Of the list's numbers, those that are in use. */
  length = 0;
  /** By frame with something to do: the next such one outside, and where its own rows begin. */
  readonly #outside = new Int32Array(TREE_LIMITS.depth + 2);
  readonly #before = new Int32Array(TREE_LIMITS.depth + 2);

  clear(): void {
    this.frame = 0;
    this.length = 0;
  }

  /** There is something to do at the end of a frame, which is the innermost that is open. */
  of(frame: number): void {
    if (this.frame === frame) return;
    this.#outside[frame] = this.frame;
    this.#before[frame] = this.length;
    this.frame = frame;
  }

  /** For the frame that `of` named last. */
  add(what: number, a: number, b: number, c: number): void {
    const { list, length } = this;
    list[length] = what;
    list[length + 1] = a;
    list[length + 2] = b;
    list[length + 3] = c;
    this.length = length + 4;
  }

  /** The innermost frame with something to do ends. @returns where its rows begin; they are the caller's to take off */
  end(): number {
    const { frame } = this;
    this.frame = this.#outside[frame]!;
    return this.#before[frame]!;
  }
}
