import { eachMember, isFilledObject } from './json_scan.ts';

/** A value of an item's data: its name, and where it stands in the text. */
export interface Member {
  /** The field, or with `flatten` the path to it, as `specs.weight`. */
  name: string;
  start: number;
  end: number;
  /** Of those that lie inside the same field of the data. */
  field: number;
}

/** Which of an item's data is wanted, and how. */
export interface Narrowing {
  /** Fields of the data to keep; with `flatten` also paths. Null keeps all. */
  fields: ReadonlySet<string> | null;
  /** Objects inside the data become fields as `specs.weight`; lists stay. */
  flatten: boolean;
}

/** An object deeper than this, or behind a longer path, stays as it is: names would outgrow the data. */
const MAX_DEPTH = 16;
const MAX_PATH = 100;

/**
 * The fields of an item's data; null where it is no object.
 *
 * @param staysWhole says with `flatten` of a path whether an object there is wanted as it is
 */
export function membersOf(data: string, flatten: boolean, staysWhole?: (path: string) => boolean): Member[] | null {
  const top: Member[] = [];
  let dotted = false;
  const isObject = eachMember(data, 0, (name, start, end) => {
    dotted ||= name.includes('.');
    top.push({ name, start, end, field: top.length });
  });
  if (!isObject) return null;
  if (!flatten || !top.some(({ start }) => isFilledObject(data, start))) return top;
  const flat = new Flattening(data, staysWhole);
  for (const member of top) flat.add(member, 1);
  return dotted || flat.dotted ? flat.withoutClashes(top) : flat.members;
}

/** The names that `fields` wants: each of them, and with `flatten` what lies below it. */
export function isWanted(name: string, { fields, flatten }: Narrowing): boolean {
  if (fields === null || fields.has(name)) return true;
  if (!flatten) return false;
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1))
    if (fields.has(name.slice(0, dot))) return true;
  return false;
}

class Flattening {
  readonly members: Member[] = [];
  /** A key inside holds a dot itself, so that two paths may read the same. */
  dotted = false;
  readonly #data: string;
  readonly #staysWhole: (path: string) => boolean;

  constructor(data: string, staysWhole: (path: string) => boolean = () => false) {
    this.#data = data;
    this.#staysWhole = staysWhole;
  }

  add(member: Member, depth: number): void {
    const { name: path, start, field } = member;
    const opens =
      depth < MAX_DEPTH && path.length <= MAX_PATH && isFilledObject(this.#data, start) && !this.#staysWhole(path);
    if (!opens) {
      this.members.push(member);
      return;
    }
    eachMember(this.#data, start, (key, from, end) => {
      this.dotted ||= key.includes('.');
      this.add({ name: `${path}.${key}`, start: from, end, field }, depth + 1);
    });
  }

  /** Where two fields would give the same name, the objects among them stay as they are: `{"a.b": 1, "a": {"b": 2}}`. */
  withoutClashes(top: readonly Member[]): Member[] {
    const whole = new Set<number>();
    for (let round = 0; round < 3; round++) {
      const kept = this.members.filter(({ field }) => !whole.has(field));
      const members = [...kept, ...[...whole].map((field) => top[field]!)].sort((a, b) => a.start - b.start);
      const clashing = clashesOf(members);
      if (clashing.every((field) => whole.has(field))) return members;
      for (const field of clashing) whole.add(field);
    }
    return [...top];
  }
}

/** The fields whose names are given twice. */
function clashesOf(members: readonly Member[]): number[] {
  const owners = new Map<string, number>();
  const clashing: number[] = [];
  for (const { name, field } of members) {
    const owner = owners.get(name);
    if (owner === undefined) owners.set(name, field);
    else clashing.push(owner, field);
  }
  return clashing;
}
