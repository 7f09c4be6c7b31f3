"""ESEARCH: one search in many mailboxes (RFC 7377)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client

WANTED = b"Subject: wanted\r\n\r\n\r\n"


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server) as one:
        for name in ("Lists", "Lists/one", "Lists/one/deep", "Listen"):
            await one.do(f"CREATE {name}")
            await server.deliver(LETTER, name)
            await server.deliver(WANTED, name)
        await server.deliver(WANTED)
        await server.deliver(WANTED, account=2)
        yield one


async def found(client: Client, sources: str, more: str = "") -> list[str]:
    lines = await client.do(f"ESEARCH{sources} {more}SUBJECT wanted")
    assert lines[-1] == "OK ESEARCH completed"
    assert all(f'(TAG "{client.tag}" MAILBOX ' in line for line in lines[:-1])
    return [line.split('MAILBOX "')[1].split('"')[0] for line in lines[:-1]]


async def test_the_sources_say_where_to_search(client: Client) -> None:
    assert sorted(await found(client, " IN (personal)")) == [
        "INBOX", "Listen", "Lists", "Lists/one", "Lists/one/deep",
    ]  # fmt: skip
    assert await found(client, " IN (inboxes)") == ["INBOX"]
    assert await found(client, " IN (subtree Lists)") == ["Lists", "Lists/one", "Lists/one/deep"]
    assert await found(client, " IN (subtree-one Lists)") == ["Lists", "Lists/one"]
    assert await found(client, " IN (mailboxes (Listen nowhere) inboxes mailboxes Listen)") == [
        "Listen",
        "INBOX",
    ]
    # RFC 7377 §2.2: there must be a selected mailbox where one is meant
    for sources in ("", " IN (selected)", " IN (selected inboxes)", " IN (inboxes) RETURN (UPDATE)"):
        assert (await client.do(f"ESEARCH{sources} ALL"))[-1] == "BAD ESEARCH: select a mailbox first"
    await client.do("SUBSCRIBE Listen")
    assert "Listen" in await found(client, " IN (subscribed)")
    assert "Lists" not in await found(client, " IN (subscribed)")


async def test_what_is_found_is_told_by_uid(client: Client) -> None:
    await client.do("SELECT Lists")
    # RFC 7377 §2.1: without a source, the selected mailbox
    assert await found(client, "") == ["Lists"]
    validity = (await client.do("STATUS Lists (UIDVALIDITY)"))[0].split()[-1].rstrip(")")
    lines = await client.do("ESEARCH IN (selected inboxes) RETURN (MIN COUNT) ALL")
    assert (
        lines[0] == f'* ESEARCH (TAG "{client.tag}" MAILBOX "Lists" UIDVALIDITY {validity}) UID MIN 1 COUNT 2'
    )
    lines = await client.do("ESEARCH IN (mailboxes Lists) RETURN (PARTIAL -1:-1) ALL")
    assert lines[0].endswith(" UID PARTIAL (-1:-1 2)")


async def test_the_results_in_the_selected_mailbox_may_be_kept(server: Server, client: Client) -> None:
    await client.do("SELECT Lists")
    # numbers are those of each mailbox
    assert sorted(await found(client, " IN (personal)", "2 ")) == [
        "Listen", "Lists", "Lists/one", "Lists/one/deep",
    ]  # fmt: skip
    await client.do("ESEARCH RETURN (SAVE) SUBJECT wanted")
    assert await client.do("FETCH $ UID") == ["* 2 FETCH (UID 2)", "OK FETCH completed"]
    assert (await client.do("ESEARCH RETURN (COUNT) $"))[0].endswith(" UID COUNT 1")
    # RFC 7377 §2.2: UPDATE is about the selected mailbox alone
    lines = await client.do("ESEARCH IN (personal) RETURN (UPDATE COUNT) SUBJECT wanted")
    assert len(lines) == 6
    tag = client.tag
    await server.deliver(WANTED, "Listen")
    await server.deliver(WANTED, "Lists")
    said = [line for line in await client.do("NOOP") if line.startswith("* ESEARCH")]
    assert len(said) == 1
    assert said[0].startswith(f'* ESEARCH (TAG "{tag}" MAILBOX "Lists" UIDVALIDITY ')
    assert said[0].endswith(") UID ADDTO (0 3)")
