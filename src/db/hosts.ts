import { type Db, inTransaction, type Sql, type Tx } from './client.ts';

/** A host lease as it was granted. */
export interface LeasedHost {
  id: number;
  origin: string;
  fence: number;
  /** Milliseconds from now until the host may be fetched again; 0 or less: now. */
  waitMs: number;
  backoffLevel: number;
  /** Of robots.txt; 0: none. */
  crawlDelayMs: number;
  /** Of autothrottle; 0: not known. */
  throttleMs: number;
  /** The former holder died: when it last fetched is not known. */
  isOrphaned: boolean;
  /** Where the former holder reached it, where that was asked; null: not known. */
  address: string | null;
}

/** Ids of origins, made where they are not there yet. Hosts are shared by all crawls and never deleted here. */
export async function hostIds(sql: Db, origins: readonly string[]): Promise<Map<string, number>> {
  const sorted = [...new Set(origins)].sort();
  await sql`insert into hosts (origin) select unnest(${sorted}::text[]) on conflict (origin) do nothing`;
  const rows = await sql<{ id: number; origin: string }[]>`
    select id, origin from hosts where origin = any (${sorted}::text[])`;
  return new Map(rows.map((row) => [row.origin, row.id]));
}

/**
 * Takes up to `limit` leases of hosts that have work and no living holder. The fence grows with each change of holder, so
 * a commit of the former holder is refused from here on. A host at an address of which another living node has a host is left
 * to that node; whoever gets it notes its address anew, where a crawl groups by it.
 *
 * @param addresses those of this node: of hosts there alone; null: of all
 */
export async function acquireHosts(
  sql: Db,
  nodeId: string,
  limit: number,
  addresses: readonly string[] | null,
): Promise<LeasedHost[]> {
  const at = addresses === null ? sql`` : sql`and h.address = any (${addresses as string[]}::text[])`;
  return sql<LeasedHost[]>`
    with found as materialized (
      select h.id, h.fence from hosts h
      where h.id in (
          select q.host_id from host_queues q join crawls c on c.id = q.crawl_id
          where (q.queued > 0 or q.in_progress > 0) and (c.state in ('queued', 'running') or q.in_progress > 0))
        and not exists (select from nodes n where n.id = h.node_id and n.alive_until > now())
        and (h.wanted_by is null or h.wanted_by = ${nodeId} or h.wanted_until < now())
        and (h.address is null or not exists (
          select from hosts g join nodes n on n.id = g.node_id
          where g.address = h.address and g.node_id <> ${nodeId} and n.alive_until > now())) ${at}
      order by h.id limit ${limit}
    ), ${lockFound(sql)}
    update hosts h set node_id = ${nodeId}, fence = h.fence + 1, address = null from free where h.id = free.id
    returning h.id, h.origin, h.fence, h.backoff_level as "backoffLevel", h.crawl_delay_ms as "crawlDelayMs",
              h.throttle_ms as "throttleMs", free.holder is not null as "isOrphaned", free.address,
              (extract(epoch from h.next_at - now()) * 1000)::float8 as "waitMs"`;
}

/**
 * Locks the hosts that were found free, but for those that another node has taken since the statement began: a row that has
 * changed is checked again before it is locked, its fence by what was found, and a `not exists` not at all. Whoever comes upon
 * the same hosts as another node gets fewer, and finds others when it asks again.
 */
const lockFound = (sql: Db) => sql`
  free as materialized (
    select h.id, h.node_id as holder, h.address from found f join hosts h on h.id = f.id and h.fence = f.fence
    order by h.id for update of h skip locked
  )`;

/** First key of the advisory locks under which addresses are claimed; the second is the address's hash. */
const ADDRESS_LOCK = 7_201_410;

/**
 * Notes that a host of this node is at an address, where no other living node has a host there: delay and concurrency of an
 * address are kept by one node.
 *
 * @returns for how many milliseconds the hosts there may have to be left alone; null: another node has one
 */
export async function claimAddress(
  sql: Sql,
  nodeId: string,
  { id, fence }: { id: number; fence: number },
  address: string,
): Promise<number | null> {
  return inTransaction(sql, async (tx) => {
    // A statement of its own: the next one must see what whoever had the lock before has committed.
    await tx`select pg_advisory_xact_lock(${ADDRESS_LOCK}, hashtext(${address}))`;
    const [others] = await tx<{ isElsewhere: boolean; waitMs: number | null }[]>`
      select coalesce(bool_or(g.node_id <> ${nodeId} and n.alive_until > now()), false) as "isElsewhere",
             (extract(epoch from max(case when g.node_id <> ${nodeId} then now() + interval '1 hour' else g.next_at end)
               - now()) * 1000)::float8 as "waitMs"
      from hosts g left join nodes n on n.id = g.node_id where g.address = ${address} and g.id <> ${id}`;
    if (others?.isElsewhere) return null;
    await tx`update hosts set address = ${address} where id = ${id} and fence = ${fence} and node_id = ${nodeId}`;
    return Math.max(0, others?.waitMs ?? 0);
  });
}

/** A mark that a host is wanted counts for so long; whoever still waits renews it. */
const WANTED_MS = 2000;

/**
 * Takes the leases of these origins that have no living holder and are wanted by no other node; makes origins that are not
 * known. The others are marked as wanted by this node, where no other node has marked them first.
 */
export async function acquireOrigins(sql: Db, nodeId: string, origins: readonly string[]): Promise<LeasedHost[]> {
  const sorted = [...new Set(origins)].sort();
  await hostIds(sql, sorted);
  const leased = await sql<LeasedHost[]>`
    with found as materialized (
      select h.id, h.fence from hosts h
      where h.origin = any (${sorted}::text[])
        and not exists (select from nodes n where n.id = h.node_id and n.alive_until > now())
        and (h.wanted_by is null or h.wanted_by = ${nodeId} or h.wanted_until < now())
    ), ${lockFound(sql)}
    update hosts h set node_id = ${nodeId}, fence = h.fence + 1, address = null, wanted_by = null,
      wanted_until = null
    from free where h.id = free.id
    returning h.id, h.origin, h.fence, h.backoff_level as "backoffLevel", h.crawl_delay_ms as "crawlDelayMs",
              h.throttle_ms as "throttleMs", free.holder is not null as "isOrphaned", free.address,
              (extract(epoch from h.next_at - now()) * 1000)::float8 as "waitMs"`;
  if (leased.length === sorted.length) return leased;
  await sql`
    update hosts set wanted_by = ${nodeId}, wanted_until = now() + ${WANTED_MS} * interval '1 ms'
    where id in (
      select id from hosts
      where origin = any (${sorted}::text[]) and node_id <> ${nodeId}
        and (wanted_by is null or wanted_by = ${nodeId} or wanted_until < now())
      order by id for update skip locked)`;
  return leased;
}

/** Hosts of this node that another node waits for. */
export async function wantedHosts(sql: Db, nodeId: string): Promise<Set<number>> {
  const rows = await sql<{ id: number }[]>`
    select id from hosts where node_id = ${nodeId} and wanted_by <> ${nodeId} and wanted_until > now()`;
  return new Set(rows.map((row) => row.id));
}

/** The leases that the database says this node holds. */
export async function heldHosts(sql: Db, nodeId: string): Promise<Map<number, number>> {
  const rows = await sql<{ id: number; fence: number }[]>`select id, fence from hosts where node_id = ${nodeId}`;
  return new Map(rows.map((row) => [row.id, row.fence]));
}

/** Until when an origin is left alone (Retry-After, back-off, the delay of whoever had it last); null: it is not. */
export async function leftAloneUntil(sql: Db, origin: string): Promise<Date | null> {
  const [row] = await sql<{ next_at: Date }[]>`
    select next_at from hosts where origin = ${origin} and next_at > now()`;
  return row?.next_at ?? null;
}

/** How many hosts have work in crawls that run, whoever holds them. */
export async function countActiveHosts(sql: Db): Promise<number> {
  const [row] = await sql<{ n: number }[]>`
    select count(distinct q.host_id)::int as n from host_queues q join crawls c on c.id = q.crawl_id
    where (q.queued > 0 and c.state in ('queued', 'running')) or q.in_progress > 0`;
  return row?.n ?? 0;
}

/** What the owner of a host learned: stored when it matters, and when the lease is handed on. */
export interface LearnedHost {
  id: number;
  fence: number;
  waitMs: number;
  backoffLevel: number;
  crawlDelayMs: number;
  throttleMs: number;
  /** Where it was reached, of a crawl that groups hosts by it; null: not known. */
  address: string | null;
}

/** Gives leases back, for the next node to take. Those that were lost meanwhile stay as they are. */
export async function releaseHosts(sql: Db, nodeId: string, hosts: readonly LearnedHost[]): Promise<void> {
  await writeLearned(sql, nodeId, hosts, true);
}

/** Stores what this node learned of hosts that it goes on holding, so that whoever comes after its death knows. */
export async function storeHosts(sql: Db, nodeId: string, hosts: readonly LearnedHost[]): Promise<void> {
  await writeLearned(sql, nodeId, hosts, false);
}

/** Locked in the order of their ids, as `fencedHosts` takes them: a commit of this node has them meanwhile. */
async function writeLearned(sql: Db, nodeId: string, hosts: readonly LearnedHost[], release: boolean): Promise<void> {
  const sorted = hosts.toSorted((a, b) => a.id - b.id);
  const column = (key: Exclude<keyof LearnedHost, 'address'>) =>
    sorted.map((host) => Math.max(0, Math.ceil(host[key])));
  // The address of a host that is held was noted when it was claimed.
  const given = release ? sql`node_id = null, address = u.address,` : sql``;
  await sql`
    with mine as materialized (
      select id from hosts where id = any (${column('id')}::bigint[]) and node_id = ${nodeId} order by id for update
    )
    update hosts h set ${given} next_at = now() + u.wait * interval '1 ms', backoff_level = u.backoff,
      crawl_delay_ms = u.crawl_delay, throttle_ms = u.throttle
    from mine, unnest(${column('id')}::bigint[], ${column('fence')}::bigint[], ${column('waitMs')}::bigint[],
                ${column('backoffLevel')}::int[], ${column('crawlDelayMs')}::int[], ${column('throttleMs')}::int[],
                ${sorted.map((host) => host.address)}::text[])
      as u (id, fence, wait, backoff, crawl_delay, throttle, address)
    where h.id = mine.id and h.id = u.id and h.fence = u.fence and h.node_id = ${nodeId}`;
}

/** Gives back every lease of this node that is not on the list, so that it can be taken again, by whomever. */
export async function releaseOthers(sql: Db, nodeId: string, kept: readonly number[]): Promise<void> {
  await sql`update hosts set node_id = null where node_id = ${nodeId} and id <> all (${kept as number[]}::bigint[])`;
}

/**
 * The hosts of the list that this node still holds under the given fences, locked against a change of holder until the
 * transaction ends: invariant 3.
 *
 * @returns their fences, by id
 */
export async function fencedHosts(
  tx: Tx,
  nodeId: string,
  hosts: readonly { id: number; fence: number }[],
): Promise<Map<number, number>> {
  const ids = hosts.map((h) => h.id);
  // `is true` keeps hosts_by_node out of it, which has every lease of this node.
  const rows = await tx<{ id: number; fence: number }[]>`
    select id, fence from hosts where id = any (${ids}::bigint[]) and (node_id = ${nodeId}) is true for share`;
  const wanted = new Set(hosts.map((h) => `${h.id} ${h.fence}`));
  return new Map(rows.filter((row) => wanted.has(`${row.id} ${row.fence}`)).map((row) => [row.id, row.fence]));
}
