-- Crawls that are started by the clock.

create table schedules (
  id            uuid primary key,
  name          text unique,
  version       integer not null default 1,          -- one more at each change
  created_at    timestamptz not null default clock_timestamp(),
  updated_at    timestamptz not null default clock_timestamp(),
  cron          text not null,
  time_zone     text not null,
  start_at      timestamptz,                         -- no tick before it
  end_at        timestamptz,                         -- no tick from it on
  overlap       text not null check (overlap in ('skip', 'queue', 'cancel')),
  catch_up      text not null check (catch_up in ('none', 'last', 'all')),
  enabled       boolean not null,
  crawl         json not null,                       -- a body of POST /crawls
  secret_params json not null default '[]',          -- pointers to the crawl's params that are not shown
  next_at       timestamptz,                         -- the first tick that nobody has dealt with; null: there is none
  next_runs     json not null default '[]'           -- that one and the ticks after it, a few
);
create index schedules_due on schedules (next_at) where next_at is not null;

-- What became of each tick. A tick's row and the crawl that it started were committed together, under the schedule's row
-- lock: one start per tick, whichever nodes come to it.
create table schedule_runs (
  schedule_id uuid not null,
  tick        timestamptz not null,
  manual      boolean not null default false,        -- asked for by POST …/run, at this time
  state       text not null check (state in ('started', 'queued', 'skipped', 'failed')),
  open        boolean not null,                      -- it waits, or its crawl had not ended when that was last looked at
  crawl_id    uuid,
  detail      text,                                  -- why it was skipped, waits or failed
  problems    json not null default '[]',
  decided_at  timestamptz not null default clock_timestamp(),
  primary key (schedule_id, tick)
);
create index schedule_runs_open on schedule_runs (schedule_id, tick) where open;
create index schedule_runs_queued on schedule_runs (tick) where state = 'queued';
