-- Consumers of the item log.

-- One row per export and webhook of a crawl. next_offset is the cursor: every item before it has left, durably. A node
-- works on a row while it holds it: node_id as in hosts, and fence counts the changes of holder.
create table exports (
  crawl_id      uuid not null,
  n             smallint not null,                   -- place in the crawl's list; webhooks stand behind the exports
  name          text not null,
  kind          text not null
    check (kind in ('postgres', 'mysql', 'mongodb', 'redis', 'file', 's3', 'webhook')),
  definition    json not null,                       -- as posted
  state         text not null default 'active' check (state in ('active', 'done', 'failed')),
  next_offset   bigint not null default 0,
  written       bigint not null default 0,           -- items
  position      json,                                -- what the target needs besides, to go on; by its kind
  failures      integer not null default 0,          -- in a row
  failing_since timestamptz,
  last_error    text,
  last_error_at timestamptz,
  written_at    timestamptz,
  due_at        timestamptz not null default now(),  -- nobody takes it before
  node_id       uuid,
  fence         bigint not null default 0,
  primary key (crawl_id, n)
) with (fillfactor = 50);
create index exports_active on exports (due_at) where state = 'active';
create index exports_by_node on exports (node_id) where node_id is not null;
