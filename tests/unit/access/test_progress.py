"""INPROGRESS: a client hears that its command is being worked on (RFC 9585)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from posthouse.access.imap import session
from posthouse.access.imap.search import Search
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client


async def test_a_search_that_takes_long_says_how_far_it_is(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a search that does not go on until its client has heard of it
    monkeypatch.setattr(session, "PROGRESS_SECONDS", 0.01)
    heard = asyncio.Event()
    subjects = Search._subjects

    async def slow(self: Search, *arguments: Any) -> Any:
        await heard.wait()
        return await subjects(self, *arguments)

    monkeypatch.setattr(Search, "_subjects", slow)
    for _ in range(3):
        await server.deliver(LETTER)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        client.send("long SEARCH SUBJECT x")
        for _ in range(2):
            while not (line := await client.line()).startswith("* OK [INPROGRESS "):
                assert line.startswith("* ")
            assert line == '* OK [INPROGRESS ("long" 0 3)] Still working'
        heard.set()
        while "INPROGRESS" in (line := await client.line()):
            pass
        assert line == "* SEARCH 1 2 3"
        assert await client.line() == "long OK SEARCH completed"
        # and nothing more once it is done
        monkeypatch.setattr(session, "PROGRESS_SECONDS", 1000.0)
        assert await client.do("NOOP") == ["OK NOOP completed"]
