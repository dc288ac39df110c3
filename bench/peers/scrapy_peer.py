"""Scrapy as its users write it. Arguments: feed | jobdir, a directory for its files, then the start URLs.

feed: a JSON Lines feed. jobdir: JOBDIR, and a pipeline that inserts each item through an asyncpg pool (DATABASE_URL).
Crawls once; there is no compiler to warm up. Reports the seconds from the first start request to the end of the crawl,
its pipelines and feeds closed.
"""

import json
import os
import re
import sys
import time
from urllib.parse import urldefrag, urlsplit

import asyncpg
import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.utils.defer import deferred_from_coro

MODE, DIRECTORY, *START_URLS = sys.argv[1:]
CONCURRENCY = 32
FOLLOW = re.compile(os.environ["FOLLOW"])
WHITE = re.compile(r"\s+")
timing = {}


def clean(nodes):
    return WHITE.sub(" ", "".join(nodes.xpath(".//text()").getall()).strip())


class PagesSpider(scrapy.Spider):
    name = "pages"

    def start_requests(self):
        timing["start"] = time.perf_counter()
        for url in START_URLS:
            yield scrapy.Request(url)

    def parse(self, response):
        url = urldefrag(response.url).url
        yield {
            "url": url,
            "title": clean(response.css("title")[:1]),
            "h1": clean(response.css("h1")[:1]),
            "h2": [clean(h2) for h2 in response.css("h2")],
        }
        origin = urlsplit(url)[:2]
        hrefs = response.css("a::attr(href)").getall()
        for target in dict.fromkeys(urldefrag(response.urljoin(href)).url for href in hrefs):
            if FOLLOW.search(target) and urlsplit(target)[:2] == origin:
                yield scrapy.Request(target)


class PostgresPipeline:
    def open_spider(self, spider):
        return deferred_from_coro(self.open())

    async def open(self):
        self.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"])

    async def process_item(self, item, spider):
        await self.pool.execute(
            "insert into items (url, title, h1, h2) values ($1, $2, $3, $4)",
            item["url"], item["title"], item["h1"], item["h2"],
        )
        return item

    def close_spider(self, spider):
        return deferred_from_coro(self.pool.close())


SETTINGS = {
    "CONCURRENT_REQUESTS": CONCURRENCY,
    "CONCURRENT_REQUESTS_PER_DOMAIN": CONCURRENCY,
    "DOWNLOAD_DELAY": 0,
    "ROBOTSTXT_OBEY": False,
    "AUTOTHROTTLE_ENABLED": False,
    "TELNETCONSOLE_ENABLED": False,
    "LOG_LEVEL": "WARNING",
    "REQUEST_FINGERPRINTER_IMPLEMENTATION": "2.7",
    "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
}
if MODE == "feed":
    SETTINGS["FEEDS"] = {os.path.join(DIRECTORY, "items.jsonl"): {"format": "jsonlines"}}
else:
    SETTINGS["JOBDIR"] = os.path.join(DIRECTORY, "job")
    SETTINGS["ITEM_PIPELINES"] = {PostgresPipeline: 100}

process = CrawlerProcess(SETTINGS)
process.crawl(PagesSpider).addBoth(lambda _: timing.update(end=time.perf_counter()))
process.start()
print(json.dumps({"seconds": timing["end"] - timing["start"], "loopDelayP99Ms": None}))
