import fc from 'fast-check';

/**
 * Choices at random, for generators that are written as plain functions. fast-check's own combinators took 2 ms for a
 * definition and a page, these 0.05; what they shrink to is said by `Shrinkable`.
 */
export class Dice {
  readonly #random: fc.Random;

  constructor(random: fc.Random) {
    this.#random = random;
  }

  /** 0 to `n` - 1. */
  below(n: number): number {
    return this.#random.nextInt(0, n - 1);
  }

  chance(percent: number): boolean {
    return this.#random.nextInt(0, 999) < percent * 10;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** One of several, as often as its weight says. */
  one<T>(...makers: readonly [weight: number, make: () => T][]): T {
    let at = this.below(makers.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, make] of makers) {
      at -= weight;
      if (at < 0) return make();
    }
    throw new RangeError('no weight');
  }

  /** A list of `least` to `most`. */
  some<T>(least: number, most: number, make: () => T): T[] {
    return Array.from({ length: least + this.below(most - least + 1) }, make);
  }
}

/** Simpler values that are tried before a failure is shown as it is. */
const MAX_TRIED = 5000;

/** What a function makes of dice, and what a failing value is shrunk to, simplest first. */
export class Shrinkable<T> extends fc.Arbitrary<T> {
  readonly #make: (dice: Dice) => T;
  readonly #simpler: (value: T) => Generator<T>;
  #tried = 0;

  constructor(make: (dice: Dice) => T, simpler: (value: T) => Generator<T>) {
    super();
    this.#make = make;
    this.#simpler = simpler;
  }

  override generate(random: fc.Random): fc.Value<T> {
    return new fc.Value(this.#make(new Dice(random)), undefined);
  }

  override canShrinkWithoutContext(value: unknown): value is T {
    return value !== undefined;
  }

  override shrink(value: T): fc.Stream<fc.Value<T>> {
    return fc.stream(this.#bounded(value)).map((simpler) => new fc.Value(simpler, undefined));
  }

  *#bounded(value: T): Generator<T> {
    for (const simpler of this.#simpler(value)) {
      if (this.#tried++ >= MAX_TRIED) return;
      yield simpler;
    }
  }
}

/** The text without one of its parts, large parts first. */
export function* shorter(text: string): Generator<string> {
  for (let size = text.length; size >= 1; size >>= 1)
    for (let at = 0; at < text.length; at += size) yield text.slice(0, at) + text.slice(at + size);
}

/** The value without one member of it or of what is in it, or with a shorter text in one place. */
export function* simplerJson(value: unknown): Generator<unknown> {
  if (typeof value === 'string') yield* shorter(value);
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) yield value.toSpliced(i, 1);
    for (const [i, member] of value.entries()) for (const simpler of simplerJson(member)) yield value.with(i, simpler);
    return;
  }
  for (const key of Object.keys(value)) {
    const { [key]: _, ...rest } = value as Record<string, unknown>;
    yield rest;
  }
  for (const [key, member] of Object.entries(value))
    for (const simpler of simplerJson(member)) yield { ...value, [key]: simpler };
}
