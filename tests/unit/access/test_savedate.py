"""When a message came into its mailbox, which is another day than that of its arrival (RFC 8514)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.access.conftest import ARRIVED, Clock, Server
from tests.unit.access.test_sessions import LETTER, Client


@pytest.fixture
async def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """INBOX on 12 November 2026: 1 delivered ten days ago, 2 appended with a date of 2001, 3 a copy of 1."""
    monkeypatch.setattr(Clock, "now", lambda self: ARRIVED + 10 * 86400)
    await server.deliver(LETTER)
    async with Client(server) as client:
        date = '"17-Jul-2001 02:44:25 +0000" '
        await client.do(f"APPEND INBOX {date}{{{len(LETTER)}+}}\r\n{LETTER.decode()}")
        await client.do("SELECT INBOX")
        await client.do("COPY 1 INBOX")
        await client.do("NOOP")
        yield client


async def test_the_save_date_is_told(client: Client) -> None:
    old, now = " 2-Nov-2026 13:04:05 +0000", "12-Nov-2026 13:04:05 +0000"
    assert (await client.do("FETCH 1:3 (SAVEDATE INTERNALDATE)"))[:3] == [
        f'* 1 FETCH (SAVEDATE "{old}" INTERNALDATE "{old}")',
        f'* 2 FETCH (SAVEDATE "{now}" INTERNALDATE "17-Jul-2001 02:44:25 +0000")',
        f'* 3 FETCH (SAVEDATE "{now}" INTERNALDATE "{old}")',
    ]


async def test_searches_look_at_the_day_of_saving(client: Client) -> None:
    assert (await client.do("SEARCH SAVEDON 2-Nov-2026"))[0] == "* SEARCH 1"
    assert (await client.do("SEARCH SAVEDBEFORE 12-Nov-2026 SUBJECT x"))[0] == "* SEARCH 1"
    assert (await client.do("SEARCH SAVEDSINCE 12-Nov-2026"))[0] == "* SEARCH 2 3"
    assert (await client.do("SEARCH SAVEDSINCE 12-Nov-2026 BODY Hello"))[0] == "* SEARCH 2 3"
    assert (await client.do("SEARCH SAVEDSINCE 13-Nov-2026"))[0] == "* SEARCH"
    assert (await client.do("SEARCH SAVEDATESUPPORTED"))[0] == "* SEARCH 1 2 3"
    assert (await client.do("SEARCH BEFORE 1-Jan-2002 SAVEDSINCE 1-Jan-2002"))[0] == "* SEARCH 2"


async def test_mail_that_was_there_before_this_was_kept_has_its_internal_date(
    server: Server, client: Client
) -> None:
    await server.database.write([], lambda tx: tx.run("UPDATE placement SET saved = NULL"))
    lines = await client.do("FETCH 2 (SAVEDATE)")
    assert lines[0] == '* 2 FETCH (SAVEDATE "17-Jul-2001 02:44:25 +0000")'
    assert (await client.do("SEARCH SAVEDON 17-Jul-2001"))[0] == "* SEARCH 2"
