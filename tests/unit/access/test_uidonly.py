"""UIDONLY: messages are named by UID on both sides (RFC 9586)."""

from __future__ import annotations

import pytest

from tests.unit.access.conftest import Server
from tests.unit.access.test_append import literal
from tests.unit.access.test_sessions import LETTER, Client


@pytest.mark.parametrize("more", ["", " CONDSTORE"])
async def test_no_number_is_said(server: Server, more: str) -> None:
    for _ in range(4):
        await server.deliver(LETTER)
    async with Client(server) as client, Client(server) as other:
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        await client.do("ENABLE UIDONLY" + more)
        lines = await client.do("SELECT INBOX")
        assert not any("UNSEEN" in line for line in lines)
        said = await client.do("UID FETCH 2 (RFC822.SIZE)")
        assert said[0].startswith("* 2 UIDFETCH (RFC822.SIZE ")
        assert (await client.do("UID FETCH 3 (UID BODY.PEEK[TEXT])"))[
            0
        ] == "* 3 UIDFETCH (UID 3 BODY[TEXT] {7}"
        said = await client.do("UID STORE 3 +FLAGS (\\Flagged)")
        assert said[0].startswith("* 3 UIDFETCH (")
        assert "FLAGS (\\Flagged" in said[0]
        # what others do is told in the same way
        await other.do("UID STORE 4 +FLAGS (\\Seen)")
        await other.do("UID STORE 2 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        said = await client.do("NOOP")
        assert said[0] == "* VANISHED 2"
        assert said[1].startswith("* 4 UIDFETCH (")
        assert (await client.do("UID SEARCH SEEN"))[0] == "* SEARCH 4"
        assert (await client.do(f"UID REPLACE 4 INBOX {literal('Subject: y')}"))[1] == "* VANISHED 4"
        assert (await client.do("STORE 1 FLAGS ()"))[-1].startswith("BAD [UIDREQUIRED]")
