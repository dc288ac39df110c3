-- What the events of a crawl are numbered by, in the order of their commits, so that a stream of them goes on where it broke off.

-- One row per state that a crawl came to, but the first one, queued. n: 0, 1, 2 … without a gap.
create table crawl_changes (
  crawl_id    uuid not null,
  n           integer not null,
  at          timestamptz not null default clock_timestamp(),
  state       text not null,
  stop_reason text,
  primary key (crawl_id, n)
);
insert into crawl_changes (crawl_id, n, at, state, stop_reason)
select id, 0, coalesce(ended_at, started_at, created_at), state, stop_reason from crawls where state <> 'queued';

-- Failed requests in the order of their commits: what crawls.failed was before. Null: it has not failed, or before this.
alter table requests add column failed_n bigint;
drop index requests_failed;
create index requests_failed on requests (crawl_id, failed_n) where failed_n is not null;
