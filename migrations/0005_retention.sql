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
