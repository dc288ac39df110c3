-- What webhooks send.

-- One row per message, made before it is sent, so that a crash between the two loses nothing; a message keeps its row, and
-- so its webhook-id, over all tries. n counts in the order of sending: only the last one of a webhook may be pending. The
-- items are read again for each try (first_offset to below next_offset, narrowed by the webhook's definition).
create table deliveries (
  crawl_id     uuid not null,
  webhook      smallint not null,                    -- n of exports
  n            integer not null,
  event        text not null
    check (event in ('crawl.started', 'items.created', 'crawl.finished', 'crawl.failed')),
  created_at   timestamptz not null default now(),   -- in the message, too
  first_offset bigint,                               -- null: no items
  next_offset  bigint not null,                      -- the cursor behind this message
  items        integer,
  payload      text,                                 -- data of an event without items, as JSON
  state        text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
  attempts     integer not null default 0,           -- by hand, too
  failures     integer not null default 0,           -- in a row; what the back-off counts
  failing_since timestamptz,
  next_at      timestamptz,                          -- of the next try; null: at once, or once the webhook is resumed
  delivered_at timestamptz,
  primary key (crawl_id, webhook, n)
) with (fillfactor = 70);
create index deliveries_open on deliveries (crawl_id, webhook, n) where state <> 'delivered';

-- The last fifty tries of each.
create table delivery_attempts (
  crawl_id uuid not null,
  webhook  smallint not null,
  delivery integer not null,
  n        integer not null,                         -- 1, 2, 3 …
  at       timestamptz not null,
  attempt  json not null,                            -- as the API shows it
  primary key (crawl_id, webhook, delivery, n)
);
