import type { Spider } from '../model/spider.ts';
import type { Db, Tx } from './client.ts';

/** A stored spider at one of its versions, without the definition. */
export interface SpiderRow {
  name: string;
  version: number;
  /** Of the spider. */
  created_at: Date;
  /** Of the version. */
  updated_at: Date;
  description: string | null;
}

/** Null where there is no such spider or version. @param version null: the newest */
export async function findSpider(
  db: Db,
  name: string,
  version: number | null,
): Promise<(SpiderRow & { definition: Spider }) | null> {
  const [row] = await db<(SpiderRow & { definition: Spider })[]>`
    select s.name, v.version, s.created_at, v.created_at as updated_at, v.definition->>'description' as description,
           v.definition
    from spiders s join spider_versions v on v.name = s.name and v.version = ${version ?? db`s.version`}
    where s.name = ${name}`;
  return row ?? null;
}

/** The newest versions, by name. @param after exclusive; null: from the first. @param prefix that the names begin with */
export async function listSpiders(
  db: Db,
  { after, prefix, limit }: { after: string | null; prefix: string; limit: number },
): Promise<SpiderRow[]> {
  return db<SpiderRow[]>`
    select s.name, v.version, s.created_at, v.created_at as updated_at, v.definition->>'description' as description
    from spiders s join spider_versions v on v.name = s.name and v.version = s.version
    where starts_with(s.name, ${prefix}) ${after === null ? db`` : db`and s.name > ${after}`}
    order by s.name
    limit ${limit}`;
}

/** Newest first. @param before exclusive; null: from the newest */
export async function listVersions(
  db: Db,
  name: string,
  { before, limit }: { before: number | null; limit: number },
): Promise<{ version: number; created_at: Date }[]> {
  return db<{ version: number; created_at: Date }[]>`
    select version, created_at from spider_versions
    where name = ${name} ${before === null ? db`` : db`and version < ${before}`}
    order by version desc
    limit ${limit}`;
}

/**
 * The newest version of a spider, its row locked until the transaction ends; 0 where it is new: then its row is there now,
 * and a version must follow. Of two transactions that make the same spider, the second waits for the first.
 */
export async function lockSpider(tx: Tx, name: string): Promise<number> {
  const [row] = await tx<{ version: number }[]>`
    insert into spiders (name, version) values (${name}, 0)
    on conflict (name) do update set version = spiders.version
    returning version`;
  return row!.version;
}

/** Whether a version's definition is this text, to the character: the order of fields is the order in the items. */
export async function hasDefinition(tx: Tx, name: string, version: number, definition: string): Promise<boolean> {
  const [row] = await tx<{ same: boolean }[]>`
    select definition::text = ${definition} as same from spider_versions where name = ${name} and version = ${version}`;
  return row?.same ?? false;
}

/** Adds a version and makes it the newest. The caller holds the row lock. */
export async function insertVersion(tx: Tx, name: string, version: number, definition: string): Promise<void> {
  await tx`
    insert into spider_versions (name, version, definition) values (${name}, ${version}, ${definition}::text::json)`;
  await tx`update spiders set version = ${version} where name = ${name}`;
}

/** Deletes a spider with its versions; false where there is none. */
export async function deleteSpider(db: Db, name: string): Promise<boolean> {
  return (await db`delete from spiders where name = ${name} returning 1`).length > 0;
}

/** Names about as long as this one: among them is what was meant by it. */
export async function similarNames(db: Db, name: string): Promise<string[]> {
  const rows = await db<{ name: string }[]>`
    select name from spiders where abs(length(name) - ${name.length}::int) <= ${Math.floor(name.length / 3) + 2}::int
    order by name limit 1000`;
  return rows.map((row) => row.name);
}
