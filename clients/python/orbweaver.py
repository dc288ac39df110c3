"""A typed client of the Orbweaver HTTP API: one file, nothing but the standard library, Python 3.11 or newer.

Made from openapi.yaml by `node clients/python/generate.ts`; changes belong there and in runtime.py.
"""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException, HTTPResponse
from typing import Any, Dict, Iterator, List, Literal, Mapping, NotRequired, Optional, TypedDict, Union, cast


class OrbweaverError(Exception):
    """The service refused, or gave no answer. Match on `code`: docs/errors.md has them; `unreachable`: no answer came."""

    def __init__(self, code: str, message: str, status: Optional[int] = None, problems: Optional[List[Any]] = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        #: Each wrong field: pointer, code, message.
        self.problems = problems or []

    @property
    def is_passing(self) -> bool:
        """Whether the same request may come to something later."""
        return self.status is None or self.status >= 500 or self.status in (408, 425, 429)


def _error_of(status: int, body: bytes) -> OrbweaverError:
    try:
        problem = json.loads(body)
        return OrbweaverError(problem["type"], problem["detail"], status, problem.get("errors"))
    except (ValueError, KeyError, TypeError):
        return OrbweaverError("bad_answer", f"status {status}, and not as Orbweaver answers", status)


class Transport:
    """How calls get to the service. `url`: as `http://127.0.0.1:3000`; `api_key`: a secret of its API_KEYS."""

    def __init__(self, url: str, api_key: Optional[str] = None, timeout: float = 60) -> None:
        self._url = url.rstrip("/")
        self._headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
        #: Seconds without a byte after which a call is given up; streams have a sign of life every fifteen.
        self._timeout = timeout

    def _open(
        self, method: str, path: str, query: Mapping[str, Any], headers: Mapping[str, Optional[str]], body: Any
    ) -> HTTPResponse:
        texts = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in query.items() if v is not None}
        url = f"{self._url}{path}" + (f"?{urllib.parse.urlencode(texts)}" if texts else "")
        sent = {**self._headers, **{k: v for k, v in headers.items() if v is not None}}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            sent["content-type"] = "application/json"
        request = urllib.request.Request(url, data=data, headers=sent, method=method)
        try:
            return cast(HTTPResponse, urllib.request.urlopen(request, timeout=self._timeout))
        except urllib.error.HTTPError as error:
            raise _error_of(error.code, error.read()) from None
        except (OSError, HTTPException) as error:
            raise OrbweaverError("unreachable", f"{url}: {error}") from error

    def _call(
        self, method: str, path: str, query: Mapping[str, Any], headers: Mapping[str, Optional[str]], body: Any, accept: str
    ) -> Any:
        try:
            with self._open(method, path, query, {**headers, "accept": accept}, body) as response:
                data = response.read()
        except (OSError, HTTPException) as error:
            raise OrbweaverError("unreachable", f"{path}: {error}") from error
        if accept == "application/json":
            return json.loads(data) if data else None
        return data.decode()

    def stream_items(self, crawl_id: str, *, after: int = -1, retry_for: float = 600, **wanted: Any) -> Iterator[Item]:
        """The items of a crawl in offset order while they are committed, until it has ended and all were read.

        A stream that is cut off goes on where it was: no item is missed, none comes twice. `wanted`: `type`, `fields`,
        `flatten`, `change`. A service that is away for `retry_for` seconds is given up.
        """
        path = f"/crawls/{urllib.parse.quote(crawl_id, safe='')}/items"
        tries, since = 0, 0.0
        while True:
            try:
                query = {**wanted, "after": after}
                with self._open("GET", path, query, {"accept": "text/event-stream"}, None) as response:
                    for event, data in _events(response):
                        tries = 0
                        if event == "end":
                            return
                        item = cast(Item, json.loads(data))
                        if event == "item" and item["offset"] > after:
                            after = item["offset"]
                            yield item
                raise OrbweaverError("cut_off", "the stream was cut off")
            except (OSError, HTTPException, OrbweaverError) as error:
                failure = error if isinstance(error, OrbweaverError) else OrbweaverError("cut_off", str(error))
                since = since if tries > 0 else time.monotonic()
                if not failure.is_passing or time.monotonic() - since > retry_for:
                    raise failure from None
                time.sleep(min(10, 0.2 * 2**tries) * random.uniform(0.5, 1))
                tries += 1


def _events(response: HTTPResponse) -> Iterator[tuple[str, str]]:
    """Server-sent events; one that was cut in the middle never comes out."""
    event, data = "message", ""
    for raw in response:
        line = raw.decode().rstrip("\n")
        if line.startswith("event: "):
            event = line[7:]
        elif line.startswith("data: "):
            data = line[6:]
        elif raw == b"\n":
            if data:
                yield event, data
            event, data = "message", ""


class ProblemErrorsItem(TypedDict):
    pointer: str
    code: str
    message: str


class Problem(TypedDict):
    """An error, as RFC 9457 describes"""

    type: str
    title: str
    status: int
    detail: str
    requestId: str
    errors: NotRequired[List[ProblemErrorsItem]]


SpiderStartUrlsItem2 = TypedDict("SpiderStartUrlsItem2", {"url": "str", "method": "NotRequired[Literal[\"GET\", \"HEAD\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\"]]", "headers": "NotRequired[Dict[str, str]]", "form": "NotRequired[Dict[str, str]]", "json": "NotRequired[Any]", "body": "NotRequired[str]", "priority": "NotRequired[int]", "page": "NotRequired[str]", "pass": "NotRequired[Dict[str, Any]]", "render": "NotRequired[bool]"})


class SpiderScopeAllowItem2(TypedDict):
    regex: str


class SpiderScopeDenyItem2(TypedDict):
    regex: str


class SpiderScope(TypedDict):
    hosts: NotRequired[List[str]]
    subdomains: NotRequired[bool]
    redirects: NotRequired[Literal["scope", "site", "any"]]
    calls: NotRequired[List[str]]
    allow: NotRequired[List[Union[str, SpiderScopeAllowItem2]]]
    deny: NotRequired[List[Union[str, SpiderScopeDenyItem2]]]


class SpiderPagesItemMatchItem2(TypedDict):
    regex: str


class SpiderPagesItemRender2(TypedDict):
    waitFor: NotRequired[str]
    timeoutMs: NotRequired[int]
    load: NotRequired[List[Literal["image", "font", "media", "stylesheet"]]]


class SpiderPagesItemItemsItemEach2(TypedDict):
    xpath: str


class SpiderPagesItemItemsItemEach3(TypedDict):
    json: str


class SpiderPagesItemItemsItem(TypedDict):
    type: NotRequired[str]
    each: NotRequired[Union[str, SpiderPagesItemItemsItemEach2, SpiderPagesItemItemsItemEach3]]
    fields: Dict[str, Any]
    required: NotRequired[List[str]]
    key: NotRequired[List[str]]


class SpiderPagesItemFollowItemRequest(TypedDict):
    method: NotRequired[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]]
    headers: NotRequired[Dict[str, str]]
    form: NotRequired[Dict[str, str]]
    json: NotRequired[Any]
    body: NotRequired[str]


class SpiderPagesItemFollowItemAllowItem2(TypedDict):
    regex: str


class SpiderPagesItemFollowItemDenyItem2(TypedDict):
    regex: str


SpiderPagesItemFollowItem = TypedDict("SpiderPagesItemFollowItem", {"selector": "NotRequired[str]", "xpath": "NotRequired[str]", "json": "NotRequired[str]", "form": "NotRequired[str]", "value": "NotRequired[str]", "match": "NotRequired[str]", "url": "NotRequired[str]", "values": "NotRequired[Dict[str, str]]", "request": "NotRequired[SpiderPagesItemFollowItemRequest]", "page": "NotRequired[str]", "pass": "NotRequired[Dict[str, Any]]", "allow": "NotRequired[List[Union[str, SpiderPagesItemFollowItemAllowItem2]]]", "deny": "NotRequired[List[Union[str, SpiderPagesItemFollowItemDenyItem2]]]", "priority": "NotRequired[int]", "maxDepth": "NotRequired[int]"})


class SpiderPagesItem(TypedDict):
    name: NotRequired[str]
    match: NotRequired[List[Union[str, SpiderPagesItemMatchItem2]]]
    render: NotRequired[Union[bool, SpiderPagesItemRender2]]
    items: NotRequired[List[SpiderPagesItemItemsItem]]
    follow: NotRequired[List[SpiderPagesItemFollowItem]]


class SpiderPipelineItemDedupe(TypedDict):
    key: List[str]
    scope: NotRequired[Literal["crawl", "spider"]]


class SpiderPipelineItemEnrich(TypedDict):
    url: str
    method: NotRequired[Literal["GET", "POST", "PUT"]]
    headers: NotRequired[Dict[str, str]]
    send: NotRequired[Dict[str, str]]
    batch: NotRequired[int]
    retries: NotRequired[int]
    set: Dict[str, str]
    timeoutMs: NotRequired[int]
    concurrency: NotRequired[int]
    cacheSeconds: NotRequired[int]
    onError: NotRequired[Literal["keep", "drop", "fail"]]


class SpiderPipelineItemLookup(TypedDict):
    connection: str
    query: str
    params: List[str]
    set: Dict[str, str]
    timeoutMs: NotRequired[int]
    concurrency: NotRequired[int]
    cacheSeconds: NotRequired[int]
    onError: NotRequired[Literal["keep", "drop", "fail"]]


class SpiderPipelineItemDrop(TypedDict):
    """Exactly one condition besides `field`"""

    field: str
    missing: NotRequired[bool]
    equals: NotRequired[Any]
    match: NotRequired[str]
    below: NotRequired[float]
    above: NotRequired[float]


class SpiderPipelineItem(TypedDict):
    type: NotRequired[str]
    validate: NotRequired[Dict[str, Any]]
    dedupe: NotRequired[SpiderPipelineItemDedupe]
    enrich: NotRequired[SpiderPipelineItemEnrich]
    lookup: NotRequired[SpiderPipelineItemLookup]
    drop: NotRequired[SpiderPipelineItemDrop]
    rename: NotRequired[Dict[str, str]]
    pick: NotRequired[List[str]]
    set: NotRequired[Dict[str, Any]]


SpiderSamplesItem = TypedDict("SpiderSamplesItem", {"url": "str", "html": "NotRequired[str]", "contentType": "NotRequired[str]", "page": "NotRequired[str]", "pass": "NotRequired[Dict[str, Any]]", "params": "NotRequired[Dict[str, Any]]", "items": "NotRequired[List[Any]]", "contains": "NotRequired[List[Any]]", "links": "NotRequired[List[str]]", "minItems": "NotRequired[int]"})


class Spider(TypedDict):
    name: NotRequired[str]
    description: NotRequired[str]
    params: NotRequired[Dict[str, Any]]
    startUrls: NotRequired[List[Union[str, SpiderStartUrlsItem2]]]
    sitemaps: NotRequired[List[str]]
    scope: NotRequired[SpiderScope]
    pages: NotRequired[List[SpiderPagesItem]]
    script: NotRequired[str]
    pipeline: NotRequired[List[SpiderPipelineItem]]
    samples: NotRequired[List[SpiderSamplesItem]]
    settings: NotRequired[Settings]


class SpiderSummary(TypedDict):
    name: str
    version: int
    description: Union[str, None]
    createdAt: str
    updatedAt: str


class StoredSpider(TypedDict):
    name: str
    version: int
    description: Union[str, None]
    createdAt: str
    updatedAt: str
    definition: Spider


class SettingsAutothrottle(TypedDict):
    targetConcurrency: NotRequired[float]
    startDelayMs: NotRequired[int]
    maxDelayMs: NotRequired[int]


class SettingsInitialCookiesItem(TypedDict):
    name: str
    value: str
    domain: str
    path: NotRequired[str]
    secure: NotRequired[bool]


class SettingsAuthItem(TypedDict):
    """`username` and `password`, or `bearer`"""

    origin: str
    username: NotRequired[str]
    password: NotRequired[str]
    bearer: NotRequired[str]


class SettingsDedup(TypedDict):
    scope: Literal["crawl", "spider"]
    ttl: NotRequired[Union[int, None]]


class SettingsCache(TypedDict):
    mode: Literal["use", "only", "refresh", "standard"]
    ttl: NotRequired[int]


class SettingsKeepFor(TypedDict):
    """Seconds from the end of the crawl; null: for ever; absent: as RETENTION says"""

    items: NotRequired[Union[int, None]]
    ledger: NotRequired[Union[int, None]]


class Settings(TypedDict):
    concurrency: NotRequired[int]
    concurrencyPerHost: NotRequired[int]
    delayMs: NotRequired[int]
    randomizeDelay: NotRequired[bool]
    maxPages: NotRequired[Union[int, None]]
    maxItems: NotRequired[Union[int, None]]
    maxDepth: NotRequired[Union[int, None]]
    maxDurationSeconds: NotRequired[Union[int, None]]
    maxErrors: NotRequired[Union[int, None]]
    maxBytes: NotRequired[Union[int, None]]
    maxPagesPerHost: NotRequired[Union[int, None]]
    autothrottle: NotRequired[Union[SettingsAutothrottle, None]]
    hostGroup: NotRequired[Literal["origin", "address"]]
    maxCrawlDelayMs: NotRequired[int]
    maxRetryAfterMs: NotRequired[int]
    timeoutMs: NotRequired[int]
    connectTimeoutMs: NotRequired[int]
    headersTimeoutMs: NotRequired[int]
    bodyTimeoutMs: NotRequired[int]
    truncated: NotRequired[Literal["fail", "keep"]]
    maxBodyBytes: NotRequired[int]
    retries: NotRequired[int]
    retryStatuses: NotRequired[List[int]]
    retryReasons: NotRequired[List[Literal["dns", "connect", "proxy", "tls", "timeout", "reset", "truncated", "bad_encoding", "bad_response"]]]
    retryDelayMs: NotRequired[int]
    maxRedirects: NotRequired[int]
    maxMetaRefreshSeconds: NotRequired[Union[int, None]]
    userAgent: NotRequired[str]
    headers: NotRequired[Dict[str, str]]
    acceptLanguage: NotRequired[str]
    cookies: NotRequired[bool]
    initialCookies: NotRequired[List[SettingsInitialCookiesItem]]
    auth: NotRequired[List[SettingsAuthItem]]
    proxy: NotRequired[Union[str, List[str], None]]
    verifyTls: NotRequired[bool]
    robots: NotRequired[bool]
    nofollow: NotRequired[bool]
    dedup: NotRequired[SettingsDedup]
    cache: NotRequired[Union[SettingsCache, None]]
    keepFor: NotRequired[Union[SettingsKeepFor, None]]
    order: NotRequired[Literal["breadth", "depth", "priority"]]
    parser: NotRequired[Literal["fast", "html5"]]
    parseTimeoutMs: NotRequired[int]
    callbackTimeoutMs: NotRequired[int]
    scriptMemoryMb: NotRequired[int]
    maxUrlLength: NotRequired[int]
    maxPathSegments: NotRequired[Union[int, None]]
    maxRepeatedSegments: NotRequired[Union[int, None]]
    maxUrlsPerPattern: NotRequired[Union[int, None]]
    maxQueuePerHost: NotRequired[Union[int, None]]
    sortQuery: NotRequired[bool]
    keepFragment: NotRequired[bool]
    dropSessionIds: NotRequired[bool]
    keepParams: NotRequired[List[str]]
    dropParams: NotRequired[List[str]]


PreviewRequest = TypedDict("PreviewRequest", {"spider": "NotRequired[Union[Spider, str]]", "url": "str", "html": "NotRequired[str]", "contentType": "NotRequired[str]", "status": "NotRequired[int]", "page": "NotRequired[str]", "pass": "NotRequired[Dict[str, Any]]", "render": "NotRequired[bool]", "params": "NotRequired[Dict[str, Any]]", "settings": "NotRequired[Settings]"})


class PreviewRedirectsItem(TypedDict):
    url: str
    status: int
    to: str


class PreviewFetched(TypedDict):
    ms: int
    bytes: int
    contentType: Union[str, None]
    cookies: List[str]
    cached: Union[str, None]


class PreviewOutcome(TypedDict):
    """How the ledger of a crawl would show the request"""

    state: Literal["done", "failed", "skipped"]
    reason: Union[str, None]
    detail: Union[str, None]


class PreviewItemsItem(TypedDict):
    type: str
    data: Any


class PreviewFieldsItem(TypedDict):
    pointer: str
    source: str
    text: str
    hits: int


class PreviewLinksKeptItem(TypedDict):
    url: str
    method: str
    body: NotRequired[str]
    priority: int
    rule: str


class PreviewLinksDroppedItem(TypedDict):
    url: str
    reason: str
    rule: Union[str, None]


class PreviewLinks(TypedDict):
    """The first thousand of each"""

    kept: List[PreviewLinksKeptItem]
    dropped: List[PreviewLinksDroppedItem]


class PreviewTreeItem(TypedDict):
    pointer: str
    text: str
    why: str


class PreviewCounts(TypedDict):
    items: int
    linksKept: int
    linksDropped: int


class PreviewLogsItem(TypedDict):
    level: str
    message: str


class Preview(TypedDict):
    url: str
    status: Union[int, None]
    redirects: List[PreviewRedirectsItem]
    fetched: Union[PreviewFetched, None]
    outcome: PreviewOutcome
    content: Union[str, None]
    pages: List[str]
    items: List[PreviewItemsItem]
    dropped: Dict[str, int]
    fields: List[PreviewFieldsItem]
    links: PreviewLinks
    tree: Union[List[PreviewTreeItem], None]
    counts: PreviewCounts
    logs: List[PreviewLogsItem]
    state: Dict[str, Any]
    flags: List[str]
    timing: Dict[str, float]
    warnings: List[str]


class CheckSamplesItemDifferencesItem(TypedDict):
    pointer: str
    expected: NotRequired[Any]
    found: NotRequired[Any]
    message: str


class CheckSamplesItem(TypedDict):
    url: str
    ok: bool
    differences: List[CheckSamplesItemDifferencesItem]
    items: int
    warnings: List[str]
    error: Union[str, None]


class Check(TypedDict):
    name: str
    version: int
    ok: bool
    samples: List[CheckSamplesItem]


StartCrawlStartUrlsItem2 = TypedDict("StartCrawlStartUrlsItem2", {"url": "str", "method": "NotRequired[Literal[\"GET\", \"HEAD\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\"]]", "headers": "NotRequired[Dict[str, str]]", "form": "NotRequired[Dict[str, str]]", "json": "NotRequired[Any]", "body": "NotRequired[str]", "priority": "NotRequired[int]", "page": "NotRequired[str]", "pass": "NotRequired[Dict[str, Any]]", "render": "NotRequired[bool]"})


class StartCrawlExportsItemPostgresColumnsValue2(TypedDict):
    """`field` or `meta`, and the type of the column if it is created"""

    field: NotRequired[str]
    meta: NotRequired[Literal["crawl", "offset", "type", "url", "scrapedAt", "change", "data"]]
    type: NotRequired[Literal["text", "integer", "number", "boolean", "timestamp", "json"]]


class StartCrawlExportsItemPostgres(TypedDict):
    connection: str
    table: str
    columns: NotRequired[Dict[str, Union[str, StartCrawlExportsItemPostgresColumnsValue2]]]
    key: NotRequired[List[str]]
    create: NotRequired[bool]


class StartCrawlExportsItemMysqlColumnsValue2(TypedDict):
    """`field` or `meta`, and the type of the column if it is created"""

    field: NotRequired[str]
    meta: NotRequired[Literal["crawl", "offset", "type", "url", "scrapedAt", "change", "data"]]
    type: NotRequired[Literal["text", "integer", "number", "boolean", "timestamp", "json"]]


class StartCrawlExportsItemMysql(TypedDict):
    connection: str
    table: str
    columns: NotRequired[Dict[str, Union[str, StartCrawlExportsItemMysqlColumnsValue2]]]
    key: NotRequired[List[str]]
    create: NotRequired[bool]


class StartCrawlExportsItemMongodb(TypedDict):
    connection: str
    collection: str
    key: NotRequired[List[str]]


class StartCrawlExportsItemRedis(TypedDict):
    connection: str
    stream: str
    maxLength: NotRequired[int]


class StartCrawlExportsItemFile(TypedDict):
    format: Literal["ndjson", "csv", "parquet"]
    gzip: NotRequired[bool]
    maxBytes: NotRequired[int]
    name: NotRequired[str]


class StartCrawlExportsItemS3(TypedDict):
    format: Literal["ndjson", "csv", "parquet"]
    gzip: NotRequired[bool]
    maxBytes: NotRequired[int]
    connection: str
    prefix: NotRequired[str]


class StartCrawlExportsItem(TypedDict):
    """Exactly one of postgres, mysql, mongodb, redis, file, s3"""

    name: NotRequired[str]
    type: NotRequired[str]
    fields: NotRequired[List[str]]
    changes: NotRequired[List[Literal["new", "changed", "same", "gone"]]]
    flatten: NotRequired[bool]
    postgres: NotRequired[StartCrawlExportsItemPostgres]
    mysql: NotRequired[StartCrawlExportsItemMysql]
    mongodb: NotRequired[StartCrawlExportsItemMongodb]
    redis: NotRequired[StartCrawlExportsItemRedis]
    file: NotRequired[StartCrawlExportsItemFile]
    s3: NotRequired[StartCrawlExportsItemS3]


class StartCrawl(TypedDict):
    spider: NotRequired[Union[Spider, str]]
    startUrls: NotRequired[List[Union[str, StartCrawlStartUrlsItem2]]]
    params: NotRequired[Dict[str, Any]]
    settings: NotRequired[Settings]
    exports: NotRequired[List[StartCrawlExportsItem]]
    webhooks: NotRequired[List[Webhook]]
    labels: NotRequired[Dict[str, str]]


class ChangeCrawlSettingsAutothrottle(TypedDict):
    targetConcurrency: NotRequired[float]
    startDelayMs: NotRequired[int]
    maxDelayMs: NotRequired[int]


class ChangeCrawlSettingsKeepFor(TypedDict):
    """Seconds from the end of the crawl; null: for ever; absent: as RETENTION says"""

    items: NotRequired[Union[int, None]]
    ledger: NotRequired[Union[int, None]]


class ChangeCrawlSettings(TypedDict):
    concurrency: NotRequired[int]
    concurrencyPerHost: NotRequired[int]
    delayMs: NotRequired[int]
    randomizeDelay: NotRequired[bool]
    maxPages: NotRequired[Union[int, None]]
    maxItems: NotRequired[Union[int, None]]
    maxDurationSeconds: NotRequired[Union[int, None]]
    maxErrors: NotRequired[Union[int, None]]
    maxBytes: NotRequired[Union[int, None]]
    maxPagesPerHost: NotRequired[Union[int, None]]
    autothrottle: NotRequired[Union[ChangeCrawlSettingsAutothrottle, None]]
    maxCrawlDelayMs: NotRequired[int]
    maxRetryAfterMs: NotRequired[int]
    timeoutMs: NotRequired[int]
    connectTimeoutMs: NotRequired[int]
    headersTimeoutMs: NotRequired[int]
    bodyTimeoutMs: NotRequired[int]
    retries: NotRequired[int]
    retryReasons: NotRequired[List[Literal["dns", "connect", "proxy", "tls", "timeout", "reset", "truncated", "bad_encoding", "bad_response"]]]
    proxy: NotRequired[Union[str, List[str], None]]
    keepFor: NotRequired[Union[ChangeCrawlSettingsKeepFor, None]]


class ChangeCrawl(TypedDict):
    settings: NotRequired[ChangeCrawlSettings]
    labels: NotRequired[Dict[str, str]]


class CrawlSpider(TypedDict):
    name: Union[str, None]
    version: Union[int, None]


class CrawlStats(TypedDict):
    discovered: int
    queued: int
    inProgress: int
    done: int
    failed: int
    skipped: int
    retried: int
    items: int
    dropped: int
    itemBytes: int
    bodyBytes: int
    wireBytes: int


class CrawlWebhooksItem(TypedDict):
    name: str
    url: str
    secret: str


class Crawl(TypedDict):
    id: str
    state: Literal["queued", "running", "pausing", "paused", "finished", "cancelled", "failed"]
    stopReason: Union[Literal["finished", "max_pages", "max_items", "max_duration", "max_errors", "max_bytes", "start_urls_failed", "cancelled", "spider_error"], None]
    stopDetail: Union[str, None]
    spider: CrawlSpider
    startUrls: List[str]
    params: Dict[str, Any]
    settings: Settings
    labels: Dict[str, str]
    stats: CrawlStats
    warnings: List[str]
    createdAt: str
    startedAt: Union[str, None]
    endedAt: Union[str, None]
    ledgerDeletedAt: Union[str, None]
    webhooks: NotRequired[List[CrawlWebhooksItem]]


class NewSchedule(TypedDict):
    name: NotRequired[Union[str, None]]
    overlap: NotRequired[Literal["skip", "queue", "cancel"]]
    catchUp: NotRequired[Literal["none", "last", "all"]]
    enabled: NotRequired[bool]
    cron: str
    timeZone: NotRequired[str]
    startAt: NotRequired[Union[str, None]]
    endAt: NotRequired[Union[str, None]]
    crawl: StartCrawl


class ChangeSchedule(TypedDict):
    name: NotRequired[Union[str, None]]
    overlap: NotRequired[Literal["skip", "queue", "cancel"]]
    catchUp: NotRequired[Literal["none", "last", "all"]]
    enabled: NotRequired[bool]
    cron: NotRequired[str]
    timeZone: NotRequired[str]
    startAt: NotRequired[Union[str, None]]
    endAt: NotRequired[Union[str, None]]
    crawl: NotRequired[StartCrawl]


class Schedule(TypedDict):
    id: str
    name: Union[str, None]
    cron: str
    timeZone: str
    startAt: Union[str, None]
    endAt: Union[str, None]
    overlap: Literal["skip", "queue", "cancel"]
    catchUp: Literal["none", "last", "all"]
    enabled: bool
    crawl: StartCrawl
    nextRuns: List[str]
    warnings: List[str]
    lastRun: Union[ScheduleRun, None]
    createdAt: str
    updatedAt: str


class ScheduleRunCrawl(TypedDict):
    id: str
    state: Union[Literal["queued", "running", "pausing", "paused", "finished", "cancelled", "failed"], None]


class ScheduleRunErrorsItem(TypedDict):
    pointer: str
    code: str
    message: str


class ScheduleRun(TypedDict):
    tick: str
    manual: bool
    state: Literal["started", "queued", "skipped", "failed"]
    crawl: Union[ScheduleRunCrawl, None]
    detail: Union[str, None]
    errors: List[ScheduleRunErrorsItem]
    decidedAt: str


class ItemChange(TypedDict):
    """Against the last state that earlier crawls of the spider saw; with `dedup.scope: spider`, for items with a key. gone: not found any more; data, url and type are the last ones"""

    kind: Literal["new", "changed", "same", "gone"]
    fields: List[str]


class Item(TypedDict):
    offset: int
    type: str
    url: str
    data: Any
    scrapedAt: str
    change: NotRequired[ItemChange]


class ItemPage(TypedDict):
    items: List[Item]
    next: Union[int, None]
    state: Literal["queued", "running", "pausing", "paused", "finished", "cancelled", "failed"]


class LedgerRequest(TypedDict):
    seq: int
    url: str
    method: NotRequired[str]
    state: Literal["queued", "fetching", "done", "failed", "skipped"]
    reason: Union[Literal["robots", "offsite", "denied", "depth", "scheme", "trap", "max_pages_per_host", "unchanged", "already_scraped", "url_too_long", "bad_url", "request_too_large", "egress", "redirected", "redirect_duplicate", "content_type", "too_many_redirects", "dns", "connect", "proxy", "tls", "timeout", "reset", "truncated", "too_large", "bad_encoding", "bad_response", "http_4xx", "http_5xx", "robots_unreachable", "not_cached", "render_timeout", "render_error", "parse_timeout", "parse_memory", "parse_error", "script_error", "pipeline_error", "crashed"], None]
    detail: Union[str, None]
    status: Union[int, None]
    depth: int
    priority: int
    attempts: int
    redirects: int
    parent: Union[str, None]
    retryAt: Union[str, None]
    finishedAt: Union[str, None]
    items: int
    bytes: Union[int, None]
    fetchMs: Union[int, None]


class WhyDiscoveredFromItem(TypedDict):
    url: str
    depth: int


class Why(TypedDict):
    request: LedgerRequest
    explanation: str
    discoveredFrom: List[WhyDiscoveredFromItem]


class WebhookBatch(TypedDict):
    items: NotRequired[int]
    seconds: NotRequired[float]


class Webhook(TypedDict):
    name: NotRequired[str]
    url: str
    secret: NotRequired[str]
    events: NotRequired[List[Literal["crawl.started", "items.created", "crawl.finished", "crawl.failed"]]]
    headers: NotRequired[Dict[str, str]]
    batch: NotRequired[WebhookBatch]
    timeoutMs: NotRequired[int]
    type: NotRequired[str]
    fields: NotRequired[List[str]]
    changes: NotRequired[List[Literal["new", "changed", "same", "gone"]]]


Delivery = TypedDict("Delivery", {"id": "str", "webhook": "str", "event": "Literal[\"crawl.started\", \"items.created\", \"crawl.finished\", \"crawl.failed\"]", "from": "Union[int, None]", "items": "Union[int, None]", "state": "Literal[\"pending\", \"delivered\", \"failed\"]", "attempts": "int", "createdAt": "str", "deliveredAt": "Union[str, None]", "nextTryAt": "Union[str, None]"})


class AttemptRequest(TypedDict):
    url: str
    headers: Dict[str, str]
    bytes: int


class AttemptResponse(TypedDict):
    status: int
    headers: Dict[str, str]
    body: str
    cut: bool


class AttemptError(TypedDict):
    code: str
    message: str


class AttemptTiming(TypedDict):
    connectMs: Union[int, None]
    firstByteMs: Union[int, None]
    totalMs: int


class Attempt(TypedDict):
    at: str
    manual: bool
    delivered: bool
    request: AttemptRequest
    response: Union[AttemptResponse, None]
    error: Union[AttemptError, None]
    timing: AttemptTiming


class StatsCounts(TypedDict):
    discovered: int
    queued: int
    inProgress: int
    done: int
    failed: int
    skipped: int
    retried: int
    items: int
    dropped: int
    itemBytes: int
    bodyBytes: int
    wireBytes: int


class StatsFieldsValue(TypedDict):
    filled: int
    rate: float


class StatsFetchMs(TypedDict):
    """Upper bounds: the histogram doubles from bucket to bucket"""

    p50: Union[int, None]
    p90: Union[int, None]
    p99: Union[int, None]


class StatsCpuValue(TypedDict):
    pages: int
    ms: float
    msPerPage: float


class StatsHostsItem(TypedDict):
    origin: str
    queued: int
    inProgress: int
    done: int
    failed: int
    skipped: int
    leftAloneUntil: Union[str, None]


class Stats(TypedDict):
    state: Literal["queued", "running", "pausing", "paused", "finished", "cancelled", "failed"]
    stopReason: Union[Literal["finished", "max_pages", "max_items", "max_duration", "max_errors", "max_bytes", "start_urls_failed", "cancelled", "spider_error"], None]
    counts: StatsCounts
    seconds: float
    pagesPerSecond: float
    itemsPerSecond: float
    byReason: Dict[str, int]
    byStatus: Dict[str, int]
    dropped: Dict[str, int]
    flags: Dict[str, int]
    steps: Dict[str, int]
    itemTypes: Dict[str, int]
    changes: Dict[str, int]
    fields: Dict[str, StatsFieldsValue]
    fetchMs: StatsFetchMs
    cpu: Dict[str, StatsCpuValue]
    calls: Dict[str, int]
    hosts: List[StatsHostsItem]


class EngineParser(TypedDict):
    threads: int
    busy: int
    kills: int


class EngineScriptsBoundary(TypedDict):
    kind: Literal["bubblewrap", "process"]
    detail: str


class EngineScripts(TypedDict):
    enabled: bool
    boundary: Union[EngineScriptsBoundary, None]
    processes: int
    busy: int
    kills: int


class EngineRenderer(TypedDict):
    enabled: bool
    running: bool
    version: Union[str, None]
    sandbox: Union[bool, None]
    pages: int
    busy: int
    restarts: int


class EngineEventLoopDelayMs(TypedDict):
    """Over the last one to two minutes"""

    p50: float
    p99: float
    max: float


class Engine(TypedDict):
    node: str
    role: Literal["all", "api", "worker"]
    version: str
    uptimeSeconds: float
    crawls: int
    hosts: int
    fetches: int
    parser: EngineParser
    scripts: EngineScripts
    renderer: EngineRenderer
    eventLoopDelayMs: EngineEventLoopDelayMs


class GetCrawlsAnswer(TypedDict):
    """A page of crawls"""

    crawls: List[Crawl]
    next: Union[str, None]


class GetCrawlsIdRequestsAnswer(TypedDict):
    requests: List[LedgerRequest]
    next: Union[int, None]


class GetCrawlsIdLogsAnswerLogsItem(TypedDict):
    n: int
    at: str
    level: Literal["debug", "info", "warn", "error"]
    url: str
    message: str


class GetCrawlsIdLogsAnswer(TypedDict):
    logs: List[GetCrawlsIdLogsAnswerLogsItem]
    next: Union[int, None]
    total: int


class GetSpidersAnswer(TypedDict):
    """A page of spiders"""

    spiders: List[SpiderSummary]
    next: Union[str, None]


class GetSpidersNameVersionsAnswerVersionsItem(TypedDict):
    version: int
    createdAt: str


class GetSpidersNameVersionsAnswer(TypedDict):
    """A page of versions"""

    versions: List[GetSpidersNameVersionsAnswerVersionsItem]
    next: Union[int, None]


class PostSpidersNameCheckBody(TypedDict):
    params: NotRequired[Dict[str, Any]]


class GetSchedulesAnswer(TypedDict):
    """A page of schedules"""

    schedules: List[Schedule]
    next: Union[str, None]


class PostSchedulesPreviewBody(TypedDict):
    cron: str
    timeZone: NotRequired[str]
    startAt: NotRequired[Union[str, None]]
    endAt: NotRequired[Union[str, None]]


class PostSchedulesPreviewAnswer(TypedDict):
    """The next runs"""

    nextRuns: List[str]
    warnings: List[str]


class GetSchedulesIdRunsAnswer(TypedDict):
    """A page of runs"""

    runs: List[ScheduleRun]
    next: Union[str, None]


class DeleteCacheAnswer(TypedDict):
    """It is empty"""

    deleted: int


class GetCrawlsIdExportsAnswerExportsItemDefinitionPostgresColumnsValue2(TypedDict):
    """`field` or `meta`, and the type of the column if it is created"""

    field: NotRequired[str]
    meta: NotRequired[Literal["crawl", "offset", "type", "url", "scrapedAt", "change", "data"]]
    type: NotRequired[Literal["text", "integer", "number", "boolean", "timestamp", "json"]]


class GetCrawlsIdExportsAnswerExportsItemDefinitionPostgres(TypedDict):
    connection: str
    table: str
    columns: NotRequired[Dict[str, Union[str, GetCrawlsIdExportsAnswerExportsItemDefinitionPostgresColumnsValue2]]]
    key: NotRequired[List[str]]
    create: NotRequired[bool]


class GetCrawlsIdExportsAnswerExportsItemDefinitionMysqlColumnsValue2(TypedDict):
    """`field` or `meta`, and the type of the column if it is created"""

    field: NotRequired[str]
    meta: NotRequired[Literal["crawl", "offset", "type", "url", "scrapedAt", "change", "data"]]
    type: NotRequired[Literal["text", "integer", "number", "boolean", "timestamp", "json"]]


class GetCrawlsIdExportsAnswerExportsItemDefinitionMysql(TypedDict):
    connection: str
    table: str
    columns: NotRequired[Dict[str, Union[str, GetCrawlsIdExportsAnswerExportsItemDefinitionMysqlColumnsValue2]]]
    key: NotRequired[List[str]]
    create: NotRequired[bool]


class GetCrawlsIdExportsAnswerExportsItemDefinitionMongodb(TypedDict):
    connection: str
    collection: str
    key: NotRequired[List[str]]


class GetCrawlsIdExportsAnswerExportsItemDefinitionRedis(TypedDict):
    connection: str
    stream: str
    maxLength: NotRequired[int]


class GetCrawlsIdExportsAnswerExportsItemDefinitionFile(TypedDict):
    format: Literal["ndjson", "csv", "parquet"]
    gzip: NotRequired[bool]
    maxBytes: NotRequired[int]
    name: NotRequired[str]


class GetCrawlsIdExportsAnswerExportsItemDefinitionS3(TypedDict):
    format: Literal["ndjson", "csv", "parquet"]
    gzip: NotRequired[bool]
    maxBytes: NotRequired[int]
    connection: str
    prefix: NotRequired[str]


class GetCrawlsIdExportsAnswerExportsItemDefinition(TypedDict):
    """Exactly one of postgres, mysql, mongodb, redis, file, s3"""

    name: NotRequired[str]
    type: NotRequired[str]
    fields: NotRequired[List[str]]
    changes: NotRequired[List[Literal["new", "changed", "same", "gone"]]]
    flatten: NotRequired[bool]
    postgres: NotRequired[GetCrawlsIdExportsAnswerExportsItemDefinitionPostgres]
    mysql: NotRequired[GetCrawlsIdExportsAnswerExportsItemDefinitionMysql]
    mongodb: NotRequired[GetCrawlsIdExportsAnswerExportsItemDefinitionMongodb]
    redis: NotRequired[GetCrawlsIdExportsAnswerExportsItemDefinitionRedis]
    file: NotRequired[GetCrawlsIdExportsAnswerExportsItemDefinitionFile]
    s3: NotRequired[GetCrawlsIdExportsAnswerExportsItemDefinitionS3]


class GetCrawlsIdExportsAnswerExportsItemRejectedFirstItem(TypedDict):
    offset: int
    reason: str


class GetCrawlsIdExportsAnswerExportsItemRejected(TypedDict):
    """Items that the target cannot take, as a table whose column is a number; they were passed over"""

    count: int
    first: List[GetCrawlsIdExportsAnswerExportsItemRejectedFirstItem]


class GetCrawlsIdExportsAnswerExportsItem(TypedDict):
    """A consumer of the crawl’s items"""

    name: str
    kind: Literal["postgres", "mysql", "mongodb", "redis", "file", "s3", "webhook"]
    definition: Union[GetCrawlsIdExportsAnswerExportsItemDefinition, Webhook]
    state: Literal["active", "done", "failed"]
    nextOffset: int
    written: int
    lag: int
    writtenAt: Union[str, None]
    failures: int
    failingSince: Union[str, None]
    lastError: Union[str, None]
    lastErrorAt: Union[str, None]
    retryAt: Union[str, None]
    files: Union[int, None]
    rejected: GetCrawlsIdExportsAnswerExportsItemRejected


class GetCrawlsIdExportsAnswer(TypedDict):
    """In the order in which they were posted"""

    exports: List[GetCrawlsIdExportsAnswerExportsItem]


class PostCrawlsIdExportsNameResumeAnswerDefinitionPostgresColumnsValue2(TypedDict):
    """`field` or `meta`, and the type of the column if it is created"""

    field: NotRequired[str]
    meta: NotRequired[Literal["crawl", "offset", "type", "url", "scrapedAt", "change", "data"]]
    type: NotRequired[Literal["text", "integer", "number", "boolean", "timestamp", "json"]]


class PostCrawlsIdExportsNameResumeAnswerDefinitionPostgres(TypedDict):
    connection: str
    table: str
    columns: NotRequired[Dict[str, Union[str, PostCrawlsIdExportsNameResumeAnswerDefinitionPostgresColumnsValue2]]]
    key: NotRequired[List[str]]
    create: NotRequired[bool]


class PostCrawlsIdExportsNameResumeAnswerDefinitionMysqlColumnsValue2(TypedDict):
    """`field` or `meta`, and the type of the column if it is created"""

    field: NotRequired[str]
    meta: NotRequired[Literal["crawl", "offset", "type", "url", "scrapedAt", "change", "data"]]
    type: NotRequired[Literal["text", "integer", "number", "boolean", "timestamp", "json"]]


class PostCrawlsIdExportsNameResumeAnswerDefinitionMysql(TypedDict):
    connection: str
    table: str
    columns: NotRequired[Dict[str, Union[str, PostCrawlsIdExportsNameResumeAnswerDefinitionMysqlColumnsValue2]]]
    key: NotRequired[List[str]]
    create: NotRequired[bool]


class PostCrawlsIdExportsNameResumeAnswerDefinitionMongodb(TypedDict):
    connection: str
    collection: str
    key: NotRequired[List[str]]


class PostCrawlsIdExportsNameResumeAnswerDefinitionRedis(TypedDict):
    connection: str
    stream: str
    maxLength: NotRequired[int]


class PostCrawlsIdExportsNameResumeAnswerDefinitionFile(TypedDict):
    format: Literal["ndjson", "csv", "parquet"]
    gzip: NotRequired[bool]
    maxBytes: NotRequired[int]
    name: NotRequired[str]


class PostCrawlsIdExportsNameResumeAnswerDefinitionS3(TypedDict):
    format: Literal["ndjson", "csv", "parquet"]
    gzip: NotRequired[bool]
    maxBytes: NotRequired[int]
    connection: str
    prefix: NotRequired[str]


class PostCrawlsIdExportsNameResumeAnswerDefinition(TypedDict):
    """Exactly one of postgres, mysql, mongodb, redis, file, s3"""

    name: NotRequired[str]
    type: NotRequired[str]
    fields: NotRequired[List[str]]
    changes: NotRequired[List[Literal["new", "changed", "same", "gone"]]]
    flatten: NotRequired[bool]
    postgres: NotRequired[PostCrawlsIdExportsNameResumeAnswerDefinitionPostgres]
    mysql: NotRequired[PostCrawlsIdExportsNameResumeAnswerDefinitionMysql]
    mongodb: NotRequired[PostCrawlsIdExportsNameResumeAnswerDefinitionMongodb]
    redis: NotRequired[PostCrawlsIdExportsNameResumeAnswerDefinitionRedis]
    file: NotRequired[PostCrawlsIdExportsNameResumeAnswerDefinitionFile]
    s3: NotRequired[PostCrawlsIdExportsNameResumeAnswerDefinitionS3]


class PostCrawlsIdExportsNameResumeAnswerRejectedFirstItem(TypedDict):
    offset: int
    reason: str


class PostCrawlsIdExportsNameResumeAnswerRejected(TypedDict):
    """Items that the target cannot take, as a table whose column is a number; they were passed over"""

    count: int
    first: List[PostCrawlsIdExportsNameResumeAnswerRejectedFirstItem]


class PostCrawlsIdExportsNameResumeAnswer(TypedDict):
    """A consumer of the crawl’s items"""

    name: str
    kind: Literal["postgres", "mysql", "mongodb", "redis", "file", "s3", "webhook"]
    definition: Union[PostCrawlsIdExportsNameResumeAnswerDefinition, Webhook]
    state: Literal["active", "done", "failed"]
    nextOffset: int
    written: int
    lag: int
    writtenAt: Union[str, None]
    failures: int
    failingSince: Union[str, None]
    lastError: Union[str, None]
    lastErrorAt: Union[str, None]
    retryAt: Union[str, None]
    files: Union[int, None]
    rejected: PostCrawlsIdExportsNameResumeAnswerRejected


class GetCrawlsIdDeliveriesAnswer(TypedDict):
    """A page of deliveries"""

    deliveries: List[Delivery]
    next: Union[str, None]


class GetCrawlsIdDeliveriesDeliveryAnswerTriesItemRequest(TypedDict):
    url: str
    headers: Dict[str, str]
    bytes: int


class GetCrawlsIdDeliveriesDeliveryAnswerTriesItemResponse(TypedDict):
    status: int
    headers: Dict[str, str]
    body: str
    cut: bool


class GetCrawlsIdDeliveriesDeliveryAnswerTriesItemError(TypedDict):
    code: str
    message: str


class GetCrawlsIdDeliveriesDeliveryAnswerTriesItemTiming(TypedDict):
    connectMs: Union[int, None]
    firstByteMs: Union[int, None]
    totalMs: int


class GetCrawlsIdDeliveriesDeliveryAnswerTriesItem(TypedDict):
    n: int
    at: str
    manual: bool
    delivered: bool
    request: GetCrawlsIdDeliveriesDeliveryAnswerTriesItemRequest
    response: Union[GetCrawlsIdDeliveriesDeliveryAnswerTriesItemResponse, None]
    error: Union[GetCrawlsIdDeliveriesDeliveryAnswerTriesItemError, None]
    timing: GetCrawlsIdDeliveriesDeliveryAnswerTriesItemTiming


GetCrawlsIdDeliveriesDeliveryAnswer = TypedDict("GetCrawlsIdDeliveriesDeliveryAnswer", {"id": "str", "webhook": "str", "event": "Literal[\"crawl.started\", \"items.created\", \"crawl.finished\", \"crawl.failed\"]", "from": "Union[int, None]", "items": "Union[int, None]", "state": "Literal[\"pending\", \"delivered\", \"failed\"]", "attempts": "int", "createdAt": "str", "deliveredAt": "Union[str, None]", "nextTryAt": "Union[str, None]", "tries": "List[GetCrawlsIdDeliveriesDeliveryAnswerTriesItem]"})


class PostWebhooksTestBody(TypedDict):
    url: str
    secret: NotRequired[str]
    headers: NotRequired[Dict[str, str]]
    timeoutMs: NotRequired[int]


class PostWebhooksTestAnswerRequest(TypedDict):
    url: str
    headers: Dict[str, str]
    bytes: int


class PostWebhooksTestAnswerResponse(TypedDict):
    status: int
    headers: Dict[str, str]
    body: str
    cut: bool


class PostWebhooksTestAnswerError(TypedDict):
    code: str
    message: str


class PostWebhooksTestAnswerTiming(TypedDict):
    connectMs: Union[int, None]
    firstByteMs: Union[int, None]
    totalMs: int


class PostWebhooksTestAnswer(TypedDict):
    """The try; see `delivered`"""

    at: str
    manual: bool
    delivered: bool
    request: PostWebhooksTestAnswerRequest
    response: Union[PostWebhooksTestAnswerResponse, None]
    error: Union[PostWebhooksTestAnswerError, None]
    timing: PostWebhooksTestAnswerTiming
    secret: NotRequired[str]


class PostCrawlsIdWebhooksNameSecretBody(TypedDict):
    secret: NotRequired[str]


class PostCrawlsIdWebhooksNameSecretAnswer(TypedDict):
    """The webhook; the secret is never shown again"""

    name: str
    url: str
    secret: str


class GetHealthzAnswer(TypedDict):
    """It is"""

    status: Literal["ok"]


class GetReadyzAnswer(TypedDict):
    """It can"""

    status: Literal["ready", "not_ready"]
    checks: Dict[str, str]


class Orbweaver(Transport):
    """Every call of the API. Each raises OrbweaverError."""

    def post_crawls(self, body: StartCrawl, *, idempotency_key: Optional[str] = None) -> Crawl:
        """Start a crawl"""
        return cast(Crawl, self._call("POST", f"/crawls", {}, {"idempotency-key": idempotency_key}, body, "application/json"))

    def get_crawls(self, *, state: Optional[Literal["queued", "running", "pausing", "paused", "finished", "cancelled", "failed"]] = None, spider: Optional[str] = None, label: Optional[str] = None, cursor: Optional[str] = None, limit: Optional[int] = None) -> GetCrawlsAnswer:
        """List crawls, newest first"""
        return cast(GetCrawlsAnswer, self._call("GET", f"/crawls", {"state": state, "spider": spider, "label": label, "cursor": cursor, "limit": limit}, {}, None, "application/json"))

    def get_crawls_id(self, id: str) -> Crawl:
        """One crawl"""
        return cast(Crawl, self._call("GET", f"/crawls/{urllib.parse.quote(id, safe='')}", {}, {}, None, "application/json"))

    def patch_crawls_id(self, id: str, body: ChangeCrawl) -> Crawl:
        """Change limits, speed and labels"""
        return cast(Crawl, self._call("PATCH", f"/crawls/{urllib.parse.quote(id, safe='')}", {}, {}, body, "application/json"))

    def delete_crawls_id(self, id: str) -> None:
        """Delete a crawl that has ended, with its items and ledger"""
        self._call("DELETE", f"/crawls/{urllib.parse.quote(id, safe='')}", {}, {}, None, "application/json")

    def post_crawls_id_pause(self, id: str) -> Crawl:
        """Pause a crawl"""
        return cast(Crawl, self._call("POST", f"/crawls/{urllib.parse.quote(id, safe='')}/pause", {}, {}, None, "application/json"))

    def post_crawls_id_resume(self, id: str) -> Crawl:
        """Resume a crawl"""
        return cast(Crawl, self._call("POST", f"/crawls/{urllib.parse.quote(id, safe='')}/resume", {}, {}, None, "application/json"))

    def post_crawls_id_cancel(self, id: str) -> Crawl:
        """Cancel a crawl"""
        return cast(Crawl, self._call("POST", f"/crawls/{urllib.parse.quote(id, safe='')}/cancel", {}, {}, None, "application/json"))

    def get_crawls_id_items(self, id: str, *, format: Optional[Literal["ndjson", "sse", "json", "csv", "parquet", "json-array"]] = None, after: Optional[int] = None, limit: Optional[int] = None, follow: Optional[bool] = None, type: Optional[str] = None, change: Optional[str] = None, fields: Optional[str] = None, flatten: Optional[bool] = None) -> Union[ItemPage, List[Item]]:
        """The items, while the crawl runs and afterwards"""
        return cast("Union[ItemPage, List[Item]]", self._call("GET", f"/crawls/{urllib.parse.quote(id, safe='')}/items", {"format": format, "after": after, "limit": limit, "follow": follow, "type": type, "change": change, "fields": fields, "flatten": flatten}, {}, None, "application/json"))

    def get_crawls_id_requests(self, id: str, *, format: Optional[Literal["json", "ndjson"]] = None, state: Optional[Literal["queued", "fetching", "done", "failed", "skipped"]] = None, reason: Optional[Literal["robots", "offsite", "denied", "depth", "scheme", "trap", "max_pages_per_host", "unchanged", "already_scraped", "url_too_long", "bad_url", "request_too_large", "egress", "redirected", "redirect_duplicate", "content_type", "too_many_redirects", "dns", "connect", "proxy", "tls", "timeout", "reset", "truncated", "too_large", "bad_encoding", "bad_response", "http_4xx", "http_5xx", "robots_unreachable", "not_cached", "render_timeout", "render_error", "parse_timeout", "parse_memory", "parse_error", "script_error", "pipeline_error", "crashed"]] = None, host: Optional[str] = None, url: Optional[str] = None, cursor: Optional[int] = None, limit: Optional[int] = None) -> GetCrawlsIdRequestsAnswer:
        """The ledger: every URL that was ever discovered, in one state each"""
        return cast(GetCrawlsIdRequestsAnswer, self._call("GET", f"/crawls/{urllib.parse.quote(id, safe='')}/requests", {"format": format, "state": state, "reason": reason, "host": host, "url": url, "cursor": cursor, "limit": limit}, {}, None, "application/json"))

    def get_crawls_id_requests_why(self, id: str, *, url: str) -> Why:
        """What happened to one URL, and why"""
        return cast(Why, self._call("GET", f"/crawls/{urllib.parse.quote(id, safe='')}/requests/why", {"url": url}, {}, None, "application/json"))

    def get_crawls_id_stats(self, id: str) -> Stats:
        """Counts, rates, fill rates and latencies"""
        return cast(Stats, self._call("GET", f"/crawls/{urllib.parse.quote(id, safe='')}/stats", {}, {}, None, "application/json"))

    def get_crawls_id_events(self, id: str, *, after: Optional[str] = None) -> str:
        """Progress once a second, changes of state, failed requests, the log"""
        return cast(str, self._call("GET", f"/crawls/{urllib.parse.quote(id, safe='')}/events", {"after": after}, {}, None, "text/event-stream"))

    def get_crawls_id_logs(self, id: str, *, format: Optional[Literal["json", "ndjson"]] = None, level: Optional[Literal["debug", "info", "warn", "error"]] = None, after: Optional[int] = None, limit: Optional[int] = None) -> GetCrawlsIdLogsAnswer:
        """What the script logged"""
        return cast(GetCrawlsIdLogsAnswer, self._call("GET", f"/crawls/{urllib.parse.quote(id, safe='')}/logs", {"format": format, "level": level, "after": after, "limit": limit}, {}, None, "application/json"))

    def post_spiders(self, body: Spider) -> StoredSpider:
        """Store a spider"""
        return cast(StoredSpider, self._call("POST", f"/spiders", {}, {}, body, "application/json"))

    def get_spiders(self, *, q: Optional[str] = None, cursor: Optional[str] = None, limit: Optional[int] = None) -> GetSpidersAnswer:
        """List the stored spiders by name"""
        return cast(GetSpidersAnswer, self._call("GET", f"/spiders", {"q": q, "cursor": cursor, "limit": limit}, {}, None, "application/json"))

    def put_spiders_name(self, name: str, body: Spider, *, version: Optional[int] = None) -> StoredSpider:
        """Store a version of a spider"""
        return cast(StoredSpider, self._call("PUT", f"/spiders/{urllib.parse.quote(name, safe='')}", {"version": version}, {}, body, "application/json"))

    def get_spiders_name(self, name: str, *, version: Optional[int] = None) -> StoredSpider:
        """A stored spider with its definition"""
        return cast(StoredSpider, self._call("GET", f"/spiders/{urllib.parse.quote(name, safe='')}", {"version": version}, {}, None, "application/json"))

    def delete_spiders_name(self, name: str) -> None:
        """Delete a spider with all its versions"""
        self._call("DELETE", f"/spiders/{urllib.parse.quote(name, safe='')}", {}, {}, None, "application/json")

    def get_spiders_name_versions(self, name: str, *, cursor: Optional[int] = None, limit: Optional[int] = None) -> GetSpidersNameVersionsAnswer:
        """The versions of a spider, newest first"""
        return cast(GetSpidersNameVersionsAnswer, self._call("GET", f"/spiders/{urllib.parse.quote(name, safe='')}/versions", {"cursor": cursor, "limit": limit}, {}, None, "application/json"))

    def delete_spiders_name_memory(self, name: str) -> None:
        """Forget what the crawls of a spider have scraped"""
        self._call("DELETE", f"/spiders/{urllib.parse.quote(name, safe='')}/memory", {}, {}, None, "application/json")

    def post_spiders_preview(self, body: PreviewRequest) -> Preview:
        """What a spider makes of one page, and why"""
        return cast(Preview, self._call("POST", f"/spiders/preview", {}, {}, body, "application/json"))

    def post_spiders_name_check(self, name: str, body: Union[PostSpidersNameCheckBody, None] = None, *, version: Optional[int] = None) -> Check:
        """Whether a stored spider makes of its samples what they expect"""
        return cast(Check, self._call("POST", f"/spiders/{urllib.parse.quote(name, safe='')}/check", {"version": version}, {}, body, "application/json"))

    def post_schedules(self, body: NewSchedule) -> Schedule:
        """Schedule a crawl"""
        return cast(Schedule, self._call("POST", f"/schedules", {}, {}, body, "application/json"))

    def get_schedules(self, *, cursor: Optional[str] = None, limit: Optional[int] = None) -> GetSchedulesAnswer:
        """List the schedules, oldest first"""
        return cast(GetSchedulesAnswer, self._call("GET", f"/schedules", {"cursor": cursor, "limit": limit}, {}, None, "application/json"))

    def post_schedules_preview(self, body: PostSchedulesPreviewBody) -> PostSchedulesPreviewAnswer:
        """When a schedule would run"""
        return cast(PostSchedulesPreviewAnswer, self._call("POST", f"/schedules/preview", {}, {}, body, "application/json"))

    def get_schedules_id(self, id: str) -> Schedule:
        """One schedule"""
        return cast(Schedule, self._call("GET", f"/schedules/{urllib.parse.quote(id, safe='')}", {}, {}, None, "application/json"))

    def delete_schedules_id(self, id: str) -> None:
        """Delete a schedule with its runs"""
        self._call("DELETE", f"/schedules/{urllib.parse.quote(id, safe='')}", {}, {}, None, "application/json")

    def patch_schedules_id(self, id: str, body: ChangeSchedule) -> Schedule:
        """Change a schedule"""
        return cast(Schedule, self._call("PATCH", f"/schedules/{urllib.parse.quote(id, safe='')}", {}, {}, body, "application/json"))

    def post_schedules_id_run(self, id: str) -> ScheduleRun:
        """Start the crawl of a schedule now"""
        return cast(ScheduleRun, self._call("POST", f"/schedules/{urllib.parse.quote(id, safe='')}/run", {}, {}, None, "application/json"))

    def get_schedules_id_runs(self, id: str, *, cursor: Optional[str] = None, limit: Optional[int] = None) -> GetSchedulesIdRunsAnswer:
        """What became of each tick, the last one first"""
        return cast(GetSchedulesIdRunsAnswer, self._call("GET", f"/schedules/{urllib.parse.quote(id, safe='')}/runs", {"cursor": cursor, "limit": limit}, {}, None, "application/json"))

    def delete_cache(self, *, host: Optional[str] = None) -> DeleteCacheAnswer:
        """Empty the cache of responses"""
        return cast(DeleteCacheAnswer, self._call("DELETE", f"/cache", {"host": host}, {}, None, "application/json"))

    def get_crawls_id_exports(self, id: str) -> GetCrawlsIdExportsAnswer:
        """How far the exports and webhooks of a crawl are"""
        return cast(GetCrawlsIdExportsAnswer, self._call("GET", f"/crawls/{urllib.parse.quote(id, safe='')}/exports", {}, {}, None, "application/json"))

    def post_crawls_id_exports_name_resume(self, id: str, name: str) -> PostCrawlsIdExportsNameResumeAnswer:
        """Go on with an export that failed"""
        return cast(PostCrawlsIdExportsNameResumeAnswer, self._call("POST", f"/crawls/{urllib.parse.quote(id, safe='')}/exports/{urllib.parse.quote(name, safe='')}/resume", {}, {}, None, "application/json"))

    def get_crawls_id_deliveries(self, id: str, *, webhook: Optional[str] = None, state: Optional[Literal["pending", "delivered", "failed"]] = None, cursor: Optional[str] = None, limit: Optional[int] = None) -> GetCrawlsIdDeliveriesAnswer:
        """What the webhooks of a crawl sent, and what waits"""
        return cast(GetCrawlsIdDeliveriesAnswer, self._call("GET", f"/crawls/{urllib.parse.quote(id, safe='')}/deliveries", {"webhook": webhook, "state": state, "cursor": cursor, "limit": limit}, {}, None, "application/json"))

    def get_crawls_id_deliveries_delivery(self, id: str, delivery: str) -> GetCrawlsIdDeliveriesDeliveryAnswer:
        """One delivery with its tries"""
        return cast(GetCrawlsIdDeliveriesDeliveryAnswer, self._call("GET", f"/crawls/{urllib.parse.quote(id, safe='')}/deliveries/{urllib.parse.quote(delivery, safe='')}", {}, {}, None, "application/json"))

    def post_crawls_id_deliveries_delivery_redeliver(self, id: str, delivery: str) -> Attempt:
        """Send a message once more, now"""
        return cast(Attempt, self._call("POST", f"/crawls/{urllib.parse.quote(id, safe='')}/deliveries/{urllib.parse.quote(delivery, safe='')}/redeliver", {}, {}, None, "application/json"))

    def post_webhooks_test(self, body: PostWebhooksTestBody) -> PostWebhooksTestAnswer:
        """Send a test message to an endpoint"""
        return cast(PostWebhooksTestAnswer, self._call("POST", f"/webhooks/test", {}, {}, body, "application/json"))

    def post_crawls_id_webhooks_name_secret(self, id: str, name: str, body: Union[PostCrawlsIdWebhooksNameSecretBody, None] = None) -> PostCrawlsIdWebhooksNameSecretAnswer:
        """Give a webhook a new secret"""
        return cast(PostCrawlsIdWebhooksNameSecretAnswer, self._call("POST", f"/crawls/{urllib.parse.quote(id, safe='')}/webhooks/{urllib.parse.quote(name, safe='')}/secret", {}, {}, body, "application/json"))

    def get_healthz(self) -> GetHealthzAnswer:
        """The process is alive"""
        return cast(GetHealthzAnswer, self._call("GET", f"/healthz", {}, {}, None, "application/json"))

    def get_readyz(self) -> GetReadyzAnswer:
        """It can do its work"""
        return cast(GetReadyzAnswer, self._call("GET", f"/readyz", {}, {}, None, "application/json"))

    def get_metrics(self) -> str:
        """Prometheus text"""
        return cast(str, self._call("GET", f"/metrics", {}, {}, None, "text/plain"))

    def get_engine(self) -> Engine:
        """What this node is and does"""
        return cast(Engine, self._call("GET", f"/engine", {}, {}, None, "application/json"))
