-- Stored spiders, requests that are more than a GET, what scripts keep and say, and the keys of deduplicated items.

-- method, headers, body, page or callback, passed values; null for a plain GET. See RequestExtra in src/model/request.ts.
alter table requests add column extra json;
-- By URL, whatever the method; plain GETs are found by their fingerprint.
create index requests_extra on requests (crawl_id, md5(url)) where extra is not null;

-- Lines that were logged so far; no more than a bound are kept.
alter table crawls add column log_lines bigint not null default 0;

-- The newest version of each stored spider. Each PUT adds a row to spider_versions, which are never changed: a crawl keeps
-- the version that it was started with.
create table spiders (
  name       text primary key,
  version    integer not null,
  created_at timestamptz not null default now()
);
create table spider_versions (
  name       text not null references spiders on delete cascade,
  version    integer not null,
  created_at timestamptz not null default now(),
  definition json not null,
  primary key (name, version)
);

-- Keys that only one stored item may have. space is the crawl's id, or for a whole spider a UUID made from its name; key is
-- a hash of the fields and their values.
create table item_keys (
  space uuid not null,
  key   uuid not null,
  primary key (space, key)
);

-- What scripts keep over pages and restarts.
create table crawl_state (
  crawl_id uuid not null,
  key      text not null,
  value    json not null,
  primary key (crawl_id, key)
);

create table crawl_logs (
  crawl_id uuid not null,
  n        bigint not null,
  at       timestamptz not null,
  level    text not null,
  url      text not null,
  message  text not null,
  primary key (crawl_id, n)
);

-- A node whose scripts call an origin that another node holds waits for the lease, and says so: a holder that has no pages
-- of it hands it on.
alter table hosts add column wanted_by uuid, add column wanted_until timestamptz;
create index hosts_wanted on hosts (node_id) where wanted_by is not null;
