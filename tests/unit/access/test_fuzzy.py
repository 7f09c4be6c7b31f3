"""FUZZY finds what is alike, and says how well it fits (RFC 6203)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client

SUBJECTS = ["Notes of the team meeting", "Meetings of teams", "team building", "meeting of the TEAM"]


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    for subject in SUBJECTS:
        await server.deliver(f"Subject: {subject}\r\n\r\nx\r\n".encode())
    async with Client(server) as one:
        await one.do("SELECT INBOX")
        yield one


async def test_words_are_found_in_any_order_and_with_other_endings(client: Client) -> None:
    assert (await client.do('SEARCH SUBJECT "team meetings"'))[0] == "* SEARCH"
    assert (await client.do('SEARCH FUZZY SUBJECT "team meetings"'))[0] == "* SEARCH 1 2 4"
    assert (await client.do('SEARCH FUZZY (SUBJECT "team meeting" NOT TEXT notes)'))[0] == "* SEARCH 2 4"
    assert (await client.do('SEARCH NOT FUZZY SUBJECT "team meeting"'))[0] == "* SEARCH 3"


async def test_what_fits_best_comes_first(client: Client) -> None:
    lines = await client.do('UID SEARCH RETURN (RELEVANCY ALL) FUZZY SUBJECT "meeting of the team"')
    assert lines[0] == f'* ESEARCH (TAG "{client.tag}") UID ALL 1,4 RELEVANCY (50 100)'
    lines = await client.do('UID SEARCH RETURN (RELEVANCY) FUZZY SUBJECT "team meeting"')
    assert lines[0] == f'* ESEARCH (TAG "{client.tag}") UID ALL 1:2,4 RELEVANCY (100 50 50)'
    lines = await client.do('SORT (RELEVANCY REVERSE ARRIVAL) UTF-8 FUZZY SUBJECT "meeting of"')
    assert lines[0].startswith("* SORT 4 ")
    lines = await client.do('ESEARCH IN (inboxes) RETURN (ALL RELEVANCY) FUZZY SUBJECT "meetings team"')
    assert lines[0].endswith("UID ALL 1:2,4 RELEVANCY (50 50 50)")
