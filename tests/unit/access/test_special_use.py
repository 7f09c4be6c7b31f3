"""Mailboxes made for a purpose (RFC 6154 §3)."""

from __future__ import annotations

import pytest

from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client


async def test_a_mailbox_is_made_for_a_use_that_is_free(server: Server) -> None:
    async with Client(server) as client:
        await client.do("DELETE Sent")
        assert (await client.do("CREATE Gesendet (USE (\\sent))"))[0].startswith("OK")
        lines = await client.do('LIST (SPECIAL-USE) "" Ge*')
        assert lines[0] == '* LIST (\\HasNoChildren \\Sent) "/" "Gesendet"'
        assert (await client.do("CREATE Plain (USE ())"))[0].startswith("OK")


@pytest.mark.parametrize("uses", ["\\All", "\\Flagged", "\\Sent", "\\Junk \\Trash", "\\Unheard"])
async def test_a_use_that_cannot_be_leaves_no_mailbox(server: Server, uses: str) -> None:
    async with Client(server) as client:
        assert (await client.do(f"CREATE New (USE ({uses}))"))[-1].startswith("NO [USEATTR]")
        assert await client.do('LIST "" New') == ["OK LIST completed"]
