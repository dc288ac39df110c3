-- The whole store of Orbweaver. Words as in docs/architecture.md.
--
-- The crawl id leads the key of every large table, so that a crawl is read, claimed and deleted by one key range, and so
-- that the tables can be distributed by it. There are no foreign keys on the large tables: each would run one trigger
-- query per inserted row, and nothing but the committer and the deletion of a whole crawl writes them.

-- One row per process. A host lease lasts as long as its holder's row is alive, so that one statement per heartbeat
-- renews every lease of a node.
create table nodes (
  id          uuid primary key,
  role        text not null,
  started_at  timestamptz not null default now(),
  alive_until timestamptz not null,
  machine     text not null default '',              -- host name, boot and process namespace: where pid means something
  pid         integer not null default 0
) with (fillfactor = 50);

-- One row per origin (scheme, host, port) that was ever queued. node_id and fence are the host lease: every change of
-- holder adds one to fence, and a commit names the fence that it fetched under.
create table hosts (
  id            bigint generated always as identity primary key,
  origin        text not null unique check (length(origin) <= 300),
  node_id       uuid,
  fence         bigint not null default 0,
  next_at       timestamptz not null default now(),  -- no fetch before this: delay, Retry-After, back-off
  backoff_level smallint not null default 0          -- answers of 429 and 503 in a row
) with (fillfactor = 50);
create index hosts_by_node on hosts (node_id) where node_id is not null;

create table crawls (
  id               uuid primary key,
  created_at       timestamptz not null default clock_timestamp(),
  started_at       timestamptz,
  ended_at         timestamptz,
  deadline_at      timestamptz,                      -- when max_duration ends it; null while it is not running
  remaining_ms     bigint,                           -- of maxDurationSeconds, while it is not running
  state            text not null default 'queued'
    check (state in ('queued', 'running', 'pausing', 'paused', 'finished', 'cancelled', 'failed')),
  stop_reason      text,
  stop_detail      text,
  spider_name      text,
  spider_version   integer,
  definition       json not null,                    -- the spider as it was when the crawl started
  settings         json not null,                    -- effective: defaults, spider, crawl
  settings_version integer not null default 1,       -- one more at each PATCH
  start_urls       json not null,
  scope_hosts      json not null,                    -- host names inside the scope
  params           json not null default '{}',
  labels           jsonb not null default '{}',
  warnings         json not null default '[]',
  -- Limits, copied out of settings because the committer decides them in SQL, under this row's lock.
  max_pages        bigint,
  max_items        bigint,
  max_errors       bigint,
  max_bytes        bigint,
  -- The counters are sums over requests, kept by the transactions that change those rows.
  discovered       bigint not null default 0,
  queued           bigint not null default 0,        -- waiting for a retry included
  in_progress      bigint not null default 0,
  done             bigint not null default 0,
  failed           bigint not null default 0,
  skipped          bigint not null default 0,
  retried          bigint not null default 0,
  items            bigint not null default 0,        -- also the next offset
  dropped          bigint not null default 0,
  item_bytes       bigint not null default 0,
  body_bytes       bigint not null default 0,
  wire_bytes       bigint not null default 0,
  next_seq         bigint not null default 0,
  constraint ledger_reconciles check (discovered = queued + in_progress + done + failed + skipped),
  constraint counters_positive check (queued >= 0 and in_progress >= 0)
) with (fillfactor = 50);
create index crawls_newest on crawls (created_at desc, id desc);
create index crawls_active on crawls (state) where state in ('queued', 'running', 'pausing');

-- The ledger: dedup set, frontier and history in one. state: 0 queued, 1 delayed (queued, waiting for ready_at),
-- 2 fetching, 3 done, 4 failed, 5 skipped.
create table requests (
  crawl_id    uuid not null,
  fp          uuid not null,                         -- 128 bits of SHA-256 over method, canonical URL and body
  seq         bigint not null,                       -- order of discovery in the crawl
  rank        bigint not null,                       -- order of fetching, ascending; see src/model/rank.ts
  host_id     bigint,                                -- null for links that were skipped when they were found
  parent      bigint,                                -- seq of the request that discovered it; null: a start URL
  ready_at    timestamptz,                           -- of a delayed one
  finished_at timestamptz,
  depth       smallint not null,
  priority    smallint not null default 0,
  state       smallint not null,
  attempts    smallint not null default 0,           -- counted by the claim, so that a crash cannot lose one
  crashes     smallint not null default 0,           -- attempts whose node died
  redirects   smallint not null default 0,           -- hops of the chain that led here
  status      smallint,
  items       integer not null default 0,
  bytes       integer,
  fetch_ms    integer,
  url         text not null,
  reason      text,
  detail      text,
  primary key (crawl_id, fp)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.2);
create unique index requests_by_seq on requests (crawl_id, seq);
create index requests_queued on requests (crawl_id, host_id, rank) where state = 0;
create index requests_delayed on requests (crawl_id, host_id, ready_at) where state = 1;
create index requests_fetching on requests (crawl_id, host_id) where state = 2;
create index requests_failed on requests (crawl_id, finished_at) where state = 4;

-- One row per host queue. head is a lower bound of the ranks in requests_queued, so that a claim starts behind the dead
-- index entries of what was finished.
create table host_queues (
  crawl_id    uuid not null,
  host_id     bigint not null,
  queued      bigint not null default 0,
  in_progress bigint not null default 0,
  done        bigint not null default 0,
  failed      bigint not null default 0,
  skipped     bigint not null default 0,
  head        bigint not null default 0,
  primary key (crawl_id, host_id),
  check (queued >= 0 and in_progress >= 0)
) with (fillfactor = 50);
create index host_queues_active on host_queues (host_id) where queued > 0 or in_progress > 0;

-- Fingerprints that each fetched page links to, kept only for crawls with maxDepth: when a page turns out to be nearer to
-- the start than it was fetched at, the pages behind it come nearer too.
create table page_links (
  crawl_id uuid not null,
  seq      bigint not null,
  fps      uuid[] not null,
  primary key (crawl_id, seq)
);

create table items (
  crawl_id   uuid not null,
  "offset"   bigint not null,
  scraped_at timestamptz not null,
  seq        bigint not null,                        -- of the request that it came from
  size       integer not null,                       -- bytes of data
  type       text not null,
  url        text not null,
  data       json not null,                          -- as produced: key order, duplicates and -0 kept
  primary key (crawl_id, "offset")
);

-- Everything that is counted by a word: kind is 'reason', 'status', 'drop', 'field', 'type', 'flag', 'fetch_ms'.
create table crawl_counts (
  crawl_id uuid not null,
  kind     text not null,
  key      text not null,
  n        bigint not null,
  primary key (crawl_id, kind, key)
) with (fillfactor = 50);

-- The answers of POST /crawls that carried an Idempotency-Key; kept for a day.
create table idempotency_keys (
  principal  text not null,
  key        text not null,
  body_hash  text not null,
  status     integer not null,
  location   text not null,
  response   json not null,
  created_at timestamptz not null default now(),
  primary key (principal, key)
);
create index idempotency_keys_age on idempotency_keys (created_at);
