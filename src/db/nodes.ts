import type { Db } from './client.ts';

/** Leases last this long without a heartbeat, by the database's clock. */
export const LEASE_MS = 10_000;

export interface Liveness {
  /** Live nodes besides this one, API nodes included: whom a NOTIFY would reach. */
  others: number;
  /** Live nodes that fetch, this one included where it does. */
  workers: number;
}

/** Renews (or first writes) this node's row, and with it every host lease that it holds. */
export async function heartbeat(sql: Db, nodeId: string, role: string): Promise<Liveness> {
  const [row] = await sql<{ others: number; workers: number }[]>`
    with me as (
      insert into nodes (id, role, alive_until) values (${nodeId}, ${role}, now() + ${LEASE_MS} * interval '1 ms')
      on conflict (id) do update set alive_until = excluded.alive_until
      returning id
    )
    select count(*) filter (where n.id <> ${nodeId})::int as others,
           (count(*) filter (where n.role <> 'api' and n.id <> ${nodeId}))::int + ${role === 'api' ? 0 : 1}::int as workers
    from nodes n, me where n.alive_until > now()`;
  return row ?? { others: 0, workers: 1 };
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
