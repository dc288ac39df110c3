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


