"""Answers Prometheus: GET /metrics and nothing else, one request per connection, bounded in size and time."""

from __future__ import annotations

import asyncio
from typing import cast

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from posthouse.observe import metrics

_LONGEST_REQUEST = 8192
_PATIENCE = 10.0
"""Seconds for the whole request."""


class Scrape(asyncio.Protocol):
    """An asyncio protocol: `await loop.create_server(Scrape, sock=socket)`."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of its subclasses
        self._deadline = asyncio.get_running_loop().call_later(_PATIENCE, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if b"\r\n\r\n" in self._received or len(self._received) > _LONGEST_REQUEST:
            self._answer()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline:
            self._deadline.cancel()

    def _answer(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(respond(self._received))
        transport.close()


def respond(request: bytes) -> bytes:
    """The whole HTTP/1.1 response to `request`, whose head is complete or too long (RFC 9110)."""
    line, _, _ = request.partition(b"\r\n")
    method, _, rest = line.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if len(request) > _LONGEST_REQUEST:
        status, body = "431 Request Header Fields Too Large", b"request is too long\n"
    elif not rest.endswith((b" HTTP/1.1", b" HTTP/1.0")):
        status, body = "400 Bad Request", b"this is not an HTTP request\n"
    elif method not in (b"GET", b"HEAD"):
        status, body = "405 Method Not Allowed", b"only GET\n"
    elif path != b"/metrics":
        status, body = "404 Not Found", b"metrics are at /metrics\n"
    else:
        status, body = "200 OK", metrics.exposition()
    kind = CONTENT_TYPE_LATEST if status == "200 OK" else "text/plain; charset=utf-8"
    allow = "Allow: GET, HEAD\r\n" if status.startswith("405") else ""
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"{allow}Connection: close\r\n\r\n"
    ).encode("ascii")
    return head if method == b"HEAD" else head + body
