"""Object identifiers stay, whatever mailboxes are called and wherever messages go (RFC 8474)."""

from __future__ import annotations

import re

from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client


def mailbox_id(lines: list[str]) -> str:
    (found,) = re.findall(r"MAILBOXID \(([A-Za-z0-9_-]+)\)", " ".join(lines))
    return str(found)


async def test_a_mailbox_keeps_its_id_when_it_is_renamed(server: Server) -> None:
    async with Client(server) as client:
        made = await client.do("CREATE old")
        id = mailbox_id(made)
        assert made[-1].startswith("OK [MAILBOXID (")
        await client.do("RENAME old new")
        assert mailbox_id(await client.do("STATUS new (MAILBOXID)")) == id
        assert f'* STATUS "new" (MAILBOXID ({id}))' in await client.do(
            'LIST "" new RETURN (STATUS (MAILBOXID))'
        )
        lines = await client.do("SELECT new")
        assert f"* OK [MAILBOXID ({id})] Its name for ever" in lines
        # a new mailbox of the old name is another
        assert mailbox_id(await client.do("CREATE old")) != id
        await client.do("DELETE old")
        assert mailbox_id(await client.do("CREATE old")) != id


async def test_a_message_keeps_its_id_wherever_it_goes(server: Server) -> None:
    for _ in range(3):
        await server.deliver(LETTER)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        lines = await client.do("FETCH 1:3 (EMAILID THREADID)")
        ids = re.findall(r"\(EMAILID \((M\w+)\) THREADID NIL\)", " ".join(lines))
        assert len(set(ids)) == 3
        assert (await client.do(f"SEARCH OR EMAILID {ids[0]} EMAILID {ids[2]}"))[0] == "* SEARCH 1 3"
        # RFC 8474 §7: the case counts
        assert (await client.do(f"SEARCH EMAILID {ids[0].lower()}"))[0] == "* SEARCH"
        assert (await client.do(f"SEARCH THREADID {ids[0]}"))[0] == "* SEARCH"
        await client.do("COPY 1 Archive")
        await client.do("MOVE 2 Archive")
        await client.do("SELECT Archive")
        assert (await client.do("FETCH 1 (EMAILID)"))[0] == f"* 1 FETCH (EMAILID ({ids[0]}))"
        assert (await client.do("FETCH 2 (EMAILID)"))[0] == f"* 2 FETCH (EMAILID ({ids[1]}))"
