import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Batch, type Cursor, ExportError, type Target } from '../../dist/exports/target.js';
import type { StoredItem } from '../../dist/model/item.js';

/** An item as it lies in a place: its data parsed. */
export interface Seen {
  offset: number;
  data: unknown;
}

/** Where targets write to: a table, a stream, a directory. Each test has a new one. */
export interface Place {
  /** A target onto it, as a new holder of the export has one; not opened yet. */
  target(): Target;
  /** What lies there, in its order. */
  read(): Promise<Seen[]>;
  /** Makes it unreachable, and reachable again. Absent: it always is. */
  away?(): Promise<void>;
  back?(): Promise<void>;
  /** A target whose `open` or first `write` fails for good. Absent: there is no such case. */
  hopeless?(): Target;
  /** How many connections or files targets hold open in it. Absent: cannot be seen. */
  open?(): Promise<number>;
  /** Removes it. */
  remove(): Promise<void>;
}

export interface Traits {
  /** The item as it is to lie there; as it was unless told. */
  expected?: (item: StoredItem) => Seen;
  /** As `describe` takes it: why the tests are skipped. */
  skip?: string | false;
}

const signal = new AbortController().signal;
/** What is asked for at a time: small, so that there are many calls. */
const BATCH = 4;
const MAX_OPENS = 10;

/** Data that is hard to hold: JSON as the pipeline makes it, so without NUL and half surrogate pairs. */
const HOSTILE: string[] = [
  '{}',
  '{"a":null,"b":"","c":[],"d":{}}',
  '{"deep":{"list":[1,[2,[3,{"x":[null]}]]],"flag":true}}',
  JSON.stringify({ text: 'naïve — 漢字 🕷️ \u202e rtl \ufffd \u2028 \u007f' }),
  JSON.stringify({ text: `it's "quoted", \\ and \r\n\t two lines; $1 ? :x %s {}` }),
  '{"__proto__":{"polluted":true},"constructor":1,"toString":"x"}',
  '{"big":9007199254740991,"small":-9007199254740991,"huge":1e+300,"tiny":1e-300,"half":0.1,"zero":0}',
  JSON.stringify({ 'a key with "quotes", \'ticks\', `back` and.dots $and': 1, '': 'no name' }),
  JSON.stringify({ number: '007', bool: 'true', nothing: 'null', date: '2026-01-01', formula: '=1+1' }),
  JSON.stringify({ text: 'x'.repeat(1024 * 1024) }),
];

/** Items from offset 0. */
export function someItems(n: number, data: (i: number) => string = (i) => JSON.stringify({ n: i })): StoredItem[] {
  return Array.from({ length: n }, (_, offset) => {
    const text = data(offset);
    return {
      offset,
      type: offset % 3 === 2 ? 'other' : 'page',
      url: `https://example.com/${offset}?q=%C3%A4`,
      data: text,
      size: Buffer.byteLength(text),
      scraped_at: new Date(Date.UTC(2026, 0, 1, 0, 0, offset)),
      change: null,
    };
  });
}

/** Plays the runner and its database: what is stored of a cursor is JSON. */
class Keeper {
  readonly place: Place;
  stored: Cursor = { next: 0, position: null };

  constructor(place: Place) {
    this.place = place;
  }

  store(cursor: Cursor | null): void {
    if (cursor !== null) this.stored = JSON.parse(JSON.stringify(cursor)) as Cursor;
  }

  async open(target = this.place.target()): Promise<{ target: Target; next: number }> {
    try {
      const cursor = await target.open(structuredClone(this.stored), signal);
      this.store(cursor);
      return { target, next: cursor.next };
    } catch (error) {
      await target.close();
      throw error;
    }
  }

  /** Opens, writes what is missing of the items, and closes. An error is what the runner makes of it: another try. */
  async carry(
    items: readonly StoredItem[],
    how: { finish?: boolean; flush?: boolean; through?: number },
  ): Promise<void> {
    const through = how.through ?? (items.at(-1)?.offset ?? -1) + 1;
    for (let tries = 1; ; tries++) {
      let target: Target | null = null;
      try {
        const opened = await this.open();
        target = opened.target;
        for (const batch of batches(items, opened.next, through)) this.store(await target.write(batch, signal));
        if (how.flush || how.finish) this.store(await target.flush(signal, how.finish === true));
        if (how.finish) this.store(await target.finish(signal));
        return;
      } catch (error) {
        if (tries === MAX_OPENS || (error instanceof ExportError && error.permanent)) throw error;
      } finally {
        await target?.close();
      }
    }
  }
}

function* batches(items: readonly StoredItem[], from: number, through: number): Generator<Batch> {
  const wanted = items.filter(({ offset }) => offset >= from && offset < through);
  for (let i = 0; i < wanted.length; i += BATCH) {
    const piece = wanted.slice(i, i + BATCH);
    yield { items: piece, next: wanted[i + BATCH]?.offset ?? through };
  }
}

/**
 * Holds a target to the contract of src/exports/target.ts: every item once and in order, whatever happens to cursors,
 * connections and holders.
 */
export function conform(name: string, newPlace: () => Promise<Place>, traits: Traits = {}): void {
  const expected = traits.expected ?? (({ offset, data }) => ({ offset, data: JSON.parse(data) as unknown }));
  const inPlace = (work: (keeper: Keeper) => Promise<void>) => async () => {
    const place = await newPlace();
    try {
      await work(new Keeper(place));
      if (place.open !== undefined) assert.equal(await place.open(), 0, 'nothing is left open');
    } finally {
      await place.remove();
    }
  };
  const holds = async ({ place }: Keeper, items: readonly StoredItem[]) => {
    const seen = await place.read();
    assert.deepEqual(
      seen.map(({ offset }) => offset),
      items.map(({ offset }) => offset),
    );
    for (const [i, item] of items.entries()) assert.deepEqual(seen[i], expected(item), `the item ${item.offset}`);
  };
  describe(`${name} holds to the contract of targets`, { skip: traits.skip ?? false }, () => {
    for (const [title, work] of [...plainCases(holds), ...crashCases(holds), ...faultCases(holds)])
      it(title, inPlace(work));
  });
}

type Holds = (keeper: Keeper, items: readonly StoredItem[]) => Promise<void>;
type Case = [title: string, work: (keeper: Keeper) => Promise<void>];

function plainCases(holds: Holds): Case[] {
  return [
    [
      'writes every item once and in order, whatever is in it',
      async (keeper) => {
        const items = someItems(HOSTILE.length, (i) => HOSTILE[i]!);
        await keeper.carry(items, { finish: true });
        assert.equal(keeper.stored.next, items.length);
        await holds(keeper, items);
      },
    ],
    [
      'is finished twice, and goes on when the crawl is resumed',
      async (keeper) => {
        const items = someItems(12);
        const { target } = await keeper.open();
        for (const batch of batches(items, 0, 7)) keeper.store(await target.write(batch, signal));
        keeper.store(await target.flush(signal, true));
        keeper.store(await target.finish(signal));
        keeper.store(await target.finish(signal));
        await target.close();
        await keeper.carry(items, { finish: true, through: 7 });
        await holds(keeper, items.slice(0, 7));
        await keeper.carry(items, { finish: true });
        await holds(keeper, items);
      },
    ],
    [
      'takes a crawl without items, and a batch without any',
      async (keeper) => {
        await keeper.carry([], { finish: true });
        await holds(keeper, []);
        const { target } = await keeper.open();
        keeper.store(await target.write({ items: [], next: 5 }, signal));
        keeper.store(await target.flush(signal, true));
        keeper.store(await target.finish(signal));
        await target.close();
        assert.equal(keeper.stored.next, 5, 'what was looked at and not wanted is behind the cursor');
        await holds(keeper, []);
      },
    ],
    [
      'takes offsets with gaps',
      async (keeper) => {
        const sparse = someItems(40).filter(({ offset }) => offset % 7 === 3);
        await keeper.carry(sparse, { flush: true, through: 20 });
        await keeper.carry(sparse, { finish: true, through: 40 });
        assert.equal(keeper.stored.next, 40);
        await holds(keeper, sparse);
      },
    ],
  ];
}

function crashCases(holds: Holds): Case[] {
  const items = someItems(3 * BATCH);
  return [
    [
      '34: is opened anew after each batch, with and without a flush before',
      async (keeper) => {
        for (let through = BATCH; through <= items.length; through += BATCH)
          await keeper.carry(items, { through, flush: through % (2 * BATCH) === 0 });
        await keeper.carry(items, { finish: true });
        await holds(keeper, items);
      },
    ],
    [
      '34: doubles nothing where the cursor of what it has written is lost, at any point',
      async (keeper) => {
        for (let through = BATCH; through <= items.length; through += BATCH) {
          const before = structuredClone(keeper.stored);
          await keeper.carry(items, { through, flush: true });
          keeper.stored = before;
        }
        const before = structuredClone(keeper.stored);
        await keeper.carry(items, { finish: true });
        keeper.stored = before;
        await keeper.carry(items, { finish: true });
        await holds(keeper, items);
      },
    ],
    [
      '34: doubles nothing where the process ends without closing it',
      async (keeper) => {
        const forgotten: Target[] = [];
        for (let through = BATCH; through <= items.length; through += BATCH) {
          const { target, next } = await keeper.open();
          forgotten.push(target);
          for (const batch of batches(items, next, through)) keeper.store(await target.write(batch, signal));
          if (through === BATCH) keeper.store(await target.flush(signal, false));
        }
        await keeper.carry(items, { finish: true });
        for (const target of forgotten) await target.close();
        await holds(keeper, items);
      },
    ],
    [
      '34: doubles nothing where a call was broken off and it is not known whether it was done',
      async (keeper) => {
        const { target, next } = await keeper.open();
        const [first] = [...batches(items, next, items.length)];
        const breaking = new AbortController();
        const writing = target.write(first!, breaking.signal);
        breaking.abort(new Error('broken off'));
        await writing.catch(() => {}); // its cursor is not stored, whatever it says
        await target.close();
        await keeper.carry(items, { finish: true });
        await holds(keeper, items);
      },
    ],
    [
      '36: a holder that wakes up late doubles nothing, and takes nothing away',
      async (keeper) => {
        const late = await keeper.open();
        const [first, second, third] = [...batches(items, 0, items.length)];
        keeper.store(await late.target.write(first!, signal));
        keeper.store(await late.target.flush(signal, false));
        const { target, next } = await keeper.open();
        await late.target.write(second!, signal).catch(() => {});
        try {
          for (const batch of batches(items, next, 2 * BATCH)) keeper.store(await target.write(batch, signal));
          await late.target.write(third!, signal).catch(() => {});
          keeper.store(await target.flush(signal, false));
        } catch {
          // it lost against the late one; then it is opened again
        }
        await target.close();
        await late.target.close();
        await keeper.carry(items, { finish: true });
        await holds(keeper, items);
      },
    ],
  ];
}

function faultCases(holds: Holds): Case[] {
  return [
    [
      '35: goes on when what it writes to was away',
      async (keeper) => {
        const { place } = keeper;
        if (place.away === undefined || place.back === undefined) return;
        const items = someItems(3 * BATCH);
        const { target } = await keeper.open();
        const [first, second] = [...batches(items, 0, items.length)];
        keeper.store(await target.write(first!, signal));
        await place.away();
        const during = async () => {
          await target.write(second!, signal);
          await target.flush(signal, false);
        };
        await assert.rejects(during, (error) => error instanceof ExportError && !error.permanent);
        await target.close();
        await assert.rejects(
          () => keeper.open(),
          (error) => error instanceof ExportError && !error.permanent,
        );
        await place.back();
        await keeper.carry(items, { finish: true });
        await holds(keeper, items);
      },
    ],
    [
      'says when it can never work, and why',
      async (keeper) => {
        const target = keeper.place.hopeless?.();
        if (target === undefined) return;
        const work = async () => {
          const opened = await keeper.open(target);
          for (const batch of batches(someItems(2), opened.next, 2)) await opened.target.write(batch, signal);
          await opened.target.flush(signal, false);
        };
        await assert.rejects(work, (error) => error instanceof ExportError && error.permanent && error.message !== '');
        await target.close();
        await target.close();
      },
    ],
  ];
}
