import type { Db } from './client.ts';

/** Leases last this long without a heartbeat, by the database's clock. */
export const LEASE_MS = 10_000;

export interface Liveness {
  /** Live nodes besides this one, API nodes included: whom a NOTIFY would reach. */
  others: number;
  /** Live nodes that fetch, this one included where it does. */
  workers: number;
}

/** A node as its row tells of it. */
export interface NodeIdentity {
  id: string;
  role: string;
  /** Where `pid` means something; empty: unknown. */
  machine: string;
  pid: number;
}

/** Renews (or first writes) this node's row, and with it every host lease that it holds. */
export async function heartbeat(sql: Db, { id: nodeId, role, machine, pid }: NodeIdentity): Promise<Liveness> {
  const [row] = await sql<{ others: number; workers: number }[]>`
    with me as (
      insert into nodes (id, role, machine, pid, alive_until)
      values (${nodeId}, ${role}, ${machine}, ${pid}, now() + ${LEASE_MS} * interval '1 ms')
      on conflict (id) do update set alive_until = excluded.alive_until
      returning id
    )
    select count(*) filter (where n.id <> ${nodeId})::int as others,
           (count(*) filter (where n.role <> 'api' and n.id <> ${nodeId}))::int + ${role === 'api' ? 0 : 1}::int as workers
    from nodes n, me where n.alive_until > now()`;
  return row ?? { others: 0, workers: 1 };
}

/** The other nodes of this machine that count as alive. */
export async function neighbours(sql: Db, { id, machine }: NodeIdentity): Promise<{ id: string; pid: number }[]> {
  return sql<{ id: string; pid: number }[]>`
    select id, pid from nodes where machine = ${machine} and machine <> '' and id <> ${id} and alive_until > now()`;
}

/** Ends these nodes' leases now: their processes are gone, nobody has to wait until the leases run out. */
export async function buryNodes(sql: Db, ids: readonly string[]): Promise<void> {
  await sql`update nodes set alive_until = now() where id = any (${ids as string[]}::uuid[])`;
}

/** Gives up this node's row; its host leases must have been released before. */
export async function removeNode(sql: Db, nodeId: string): Promise<void> {
  await sql`delete from nodes where id = ${nodeId}`;
}

/** Forgets nodes that died long ago and hold nothing. */
export async function forgetDeadNodes(sql: Db): Promise<void> {
  await sql`
    delete from nodes n where n.alive_until < now() - interval '1 hour'
    and not exists (select from hosts h where h.node_id = n.id)`;
}
