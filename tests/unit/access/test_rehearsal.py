"""The rehearsal of a worker: a whole session, of which nothing stays but that the next is quicker."""

from __future__ import annotations

import pytest

from posthouse.access.imap import rehearsal
from posthouse.access.imap.rehearsal import Failed, rehearse
from posthouse.db import Reader
from posthouse.db.interface import Row
from posthouse.mail.envelope import AccountId
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client


async def everything(server: Server) -> dict[str, list[Row]]:
    """Who there is, and what they have."""
    tables = ("account", "mailbox", "placement", "email", "expunged", "subscription", "snapshot_page")

    def read(reader: Reader) -> dict[str, list[Row]]:
        return {table: sorted(reader.all(f"SELECT * FROM {table}"), key=str) for table in tables}

    return await server.database.read(read)


async def test_a_rehearsal_goes_well_and_changes_nothing(server: Server) -> None:
    # given
    await server.deliver(LETTER)
    before = await everything(server)
    # when
    await rehearse(server.services)
    # then
    assert await everything(server) == before
    assert server.services.snapshots.at_once(AccountId(0), "INBOX") is None
    async with Client(server) as client:
        assert "* 1 EXISTS" in await client.do("SELECT INBOX")


async def test_a_rehearsal_that_goes_wrong_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_COMMANDS", (b"LOGIN nobody nothing", b"SELECT Nowhere/"))
    monkeypatch.setattr(rehearsal._Stage, "at_once", lambda stage, account, name: None)
    with pytest.raises(Failed, match="There is no mailbox"):
        await rehearse(server.services)
