-- What hosts were found to need, cookies, budgets of URL patterns, what earlier crawls of a spider scraped, stored responses.

-- What the holder of the lease learned, kept for the next one and over a crash. crawl_delay_ms: of robots.txt;
-- throttle_ms: of autothrottle; address: where the host was last reached, known where a crawl groups hosts by it.
alter table hosts
  add column crawl_delay_ms integer not null default 0,
  add column throttle_ms integer not null default 0,
  add column address text;
create index hosts_by_address on hosts (address) where address is not null;

-- secret_params: pointers to the params that are not shown. cookies_version: one more with each commit that changed cookies.
alter table crawls
  add column secret_params json not null default '[]',
  add column cookies_version bigint not null default 0;

-- The cookies of each crawl. key: a hash of domain, path and name. version: of the crawl's cookies when it was written.
-- A node writes in the order of n, so that an answer whose page took long does not undo a later one. What is gone is kept
-- for a while: other nodes read by version.
create table crawl_cookies (
  crawl_id uuid not null,
  version  bigint not null,
  n        bigint not null,
  key      uuid not null,
  node     uuid,                                     -- null: given with the crawl
  gone     boolean not null,
  cookie   json not null,
  primary key (crawl_id, key)
);

-- Limits by host and by pattern, copied out of settings as the others are.
alter table crawls
  add column max_pages_per_host bigint,
  add column max_queue_per_host bigint,
  add column max_urls_per_pattern bigint;

-- URLs queued by pattern, for crawls with maxUrlsPerPattern. pattern: a hash of the URL with each run of digits in path and
-- query taken as one.
create table url_patterns (
  crawl_id uuid not null,
  pattern  uuid not null,
  n        bigint not null,
  primary key (crawl_id, pattern)
) with (fillfactor = 50);

-- Pages that crawls of a spider scraped (dedup.scope: spider). space stands for the spider, as in item_keys.
create table spider_pages (
  space         uuid not null,
  fp            uuid not null,
  definition    uuid not null,                       -- hash of what extracts: another one scrapes the page anew
  crawl_id      uuid not null,                       -- that scraped it last, or found it unchanged
  scraped_at    timestamptz not null,
  items         integer not null,
  etag          text,
  last_modified text,
  links         json,                                -- followed when the page itself is not fetched; null: they were too many
  primary key (space, fp)
);

-- The last state of each item with a key, over the crawls of a spider.
create table spider_items (
  space   uuid not null,
  key     uuid not null,                             -- hash of the item's type and its key's values
  page_fp uuid not null,                             -- of the page that it was last on
  seen_at timestamptz not null,
  hash    uuid not null,                             -- of fields
  size    integer not null,                          -- bytes of data
  type    text not null,
  url     text not null,
  start   uuid not null,                             -- of the crawl that saw it last: crawls.start_hash
  fields  jsonb not null,                            -- hash of each value by its path: {"title": "…", "specs.weight": "…"}
  data    json not null,
  primary key (space, key)
);

-- Against the state that the crawls of its spider had seen last: {"kind": "new" | "changed" | "same" | "gone",
-- "fields": […]}; null where the item has no key, or the crawl does not compare. The seq of a gone one is -1.
alter table items add column change json;

-- Of crawls that compare: false until nothing is queued any more, then true while the items that are gone are listed;
-- then the crawl ends. Null: it does not compare.
alter table crawls add column gone_pending boolean;
-- Hash of what such a crawl sets out from, and how far it goes: what it does not come to is gone only for crawls of its kind.
alter table crawls add column start_hash uuid;
create index crawls_gone_pending on crawls (id) where gone_pending;

-- Responses that crawls with `cache` keep, for all crawls that send the same.
create table cached_responses (
  key       uuid primary key,                        -- hash of the request and the headers that name its sender
  stored_at timestamptz not null,                    -- when it was fetched, or found unchanged by the site
  status    integer not null,
  size      integer not null,                        -- bytes of headers and body as stored
  host      text not null,                           -- with its port where that is not the default
  headers   json not null,
  body      bytea not null                           -- zstd; read in slices, so neither packed nor inline when large
);
alter table cached_responses alter column body set storage external;
-- The sum of the sizes is asked of the index alone.
create index cached_responses_age on cached_responses (stored_at) include (size);
-- A host name has any length, which a B-tree's key has not.
create index cached_responses_host on cached_responses using hash (host);
