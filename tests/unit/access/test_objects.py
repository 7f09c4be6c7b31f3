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
        ids = re.findall(r"\(EMAILID \((M\w+)\) THREADID \(T\w+\)\)", " ".join(lines))
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


def letter(id: str, subject: str, **fields: str) -> bytes:
    lines = [f"Message-ID: <{id}@example.net>", f"Subject: {subject}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", "Hello", ""]).encode()


async def threads_of(client: Client, numbers: str = "1:*") -> list[str]:
    return re.findall(r"THREADID \((T\w+)\)", " ".join(await client.do(f"FETCH {numbers} (THREADID)")))


async def test_a_conversation_is_one_thread_in_whatever_order_it_comes(server: Server) -> None:
    # given an answer before what it answers, and two answers to a letter that is not here
    await server.deliver(letter("b", "Re: plan", In_Reply_To="<a@example.net>"))
    await server.deliver(letter("a", "Plan"))
    await server.deliver(letter("c", "AW: Re: plan", References="<a@example.net> <b@example.net>"))
    await server.deliver(letter("e", "Re: lost", References="<gone@example.net>"))
    await server.deliver(letter("f", "Re: [list] lost", References="<gone@example.net>"))
    await server.deliver(letter("g", "another thing", References="<a@example.net>"))
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        found = await threads_of(client)
        assert found[0] == found[1] == found[2]
        assert found[3] == found[4]
        # another subject is another conversation
        assert len({found[0], found[3], found[5]}) == 3
        assert (await client.do(f"SEARCH THREADID {found[0]}"))[0] == "* SEARCH 1 2 3"
        assert (await client.do(f"SEARCH OR THREADID {found[3]} 6"))[0] == "* SEARCH 4 5 6"
        assert (await client.do("SEARCH THREADID T0"))[0] == "* SEARCH"
        # a copy is of the same thread, and so is what is appended
        await client.do("COPY 1 Archive")
        late = letter("h", "Re: plan", In_Reply_To="<b@example.net>").decode()
        await client.do(f"APPEND Archive {{{len(late)}+}}\r\n{late}")
        await client.do("SELECT Archive")
        assert await threads_of(client) == [found[0], found[0]]


async def test_what_came_before_threads_were_kept_has_one_when_it_is_asked_for(server: Server) -> None:
    # given three letters of an older version, of which the last answers the first, and a new one
    for id, subject, answers in (("a", "x", "no"), ("b", "y", "no"), ("c", "Re: x", "a")):
        await server.deliver(letter(id, subject, In_Reply_To=f"<{answers}@example.net>"))
    await server.database.write([], lambda tx: tx.run("UPDATE email SET thread = 0"))
    await server.database.write([], lambda tx: tx.run("DELETE FROM thread_key"))
    await server.deliver(letter("d", "Re: x", In_Reply_To="<a@example.net>"))
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        one, two, three, four = await threads_of(client)
        assert one == three == four != two
        assert (await client.do(f"SEARCH THREADID {one}"))[0] == "* SEARCH 1 3 4"
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        assert await threads_of(client) == [one, two, three, four]
