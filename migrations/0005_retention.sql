-- What is deleted in the background, and what is kept for how long.

-- One row per crawl whose rows are being deleted, a batch at a time: the whole crawl, whose row in crawls is gone already, or
-- its ledger alone. step and after say how far that has come: the place in the list of tables (src/db/deletions.ts), and
-- the last key there that is gone.
create table deletions (
  crawl_id   uuid primary key,
  whole      boolean not null,
  step       smallint not null default 0,
  after      text,
  rows_left  bigint not null,                        -- about
  created_at timestamptz not null default now()
) with (fillfactor = 50);

-- keepFor, copied out of settings: seconds after the crawl's end. Null: RETENTION holds; -1: for ever.
alter table crawls
  add column keep_items bigint,
  add column keep_ledger bigint,
  add column ledger_deleted_at timestamptz;
-- What is due is asked for once a minute.
create index crawls_ended on crawls (ended_at) where ended_at is not null;
create index crawls_ended_ledger on crawls (ended_at) where ended_at is not null and ledger_deleted_at is null;
create index crawls_ended_keep on crawls (ended_at)
  where ended_at is not null and (keep_items is not null or keep_ledger is not null);
