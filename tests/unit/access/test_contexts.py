"""RETURN (UPDATE): a client hears how the results of its search change (RFC 5267)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client


def letter(subject: str) -> bytes:
    return f"Subject: {subject}\r\n\r\nx\r\n".encode()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """INBOX with subjects m, d, x; the messages d and x are flagged."""
    for subject in ("m", "d", "x"):
        await server.deliver(letter(subject))
    async with Client(server) as one:
        await one.do("SELECT INBOX")
        await one.do("STORE 2:3 +FLAGS.SILENT (\\Flagged)")
        yield one


def updates(lines: list[str]) -> list[str]:
    return [line.partition(") ")[2] for line in lines if line.startswith("* ESEARCH")]


async def test_a_search_says_what_comes_and_goes(server: Server, client: Client) -> None:
    lines = await client.do("UID SEARCH RETURN (UPDATE COUNT) FLAGGED")
    assert updates(lines) == ["UID COUNT 2"]
    tag = client.tag
    async with Client(server) as other:
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS (\\Flagged)")
        await other.do("STORE 3 -FLAGS (\\Flagged)")
        lines = await client.do("NOOP")
        assert f'* ESEARCH (TAG "{tag}") UID REMOVEFROM (0 3)' in lines
        assert f'* ESEARCH (TAG "{tag}") UID ADDTO (0 1)' in lines
        # what is expunged leaves the results before it loses its number
        await other.do("STORE 2 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        await server.deliver(letter("new"), flags=4)
        lines = await client.do("NOOP")
        assert lines[:2] == [f'* ESEARCH (TAG "{tag}") UID REMOVEFROM (0 2)', "* 2 EXPUNGE"]
        assert updates(lines)[-1] == "UID ADDTO (0 4)"
    # and what the client does itself counts as well
    assert "UID REMOVEFROM (0 4)" in updates(await client.do("UID STORE 4 -FLAGS.SILENT (\\Flagged)"))
    # until it wants no more of it
    assert (await client.do(f'CANCELUPDATE "{tag}"'))[-1] == "OK CANCELUPDATE completed"
    assert updates(await client.do("UID STORE 4 +FLAGS (\\Flagged)")) == []


async def test_numbers_are_those_of_the_moment(server: Server, client: Client) -> None:
    lines = await client.do("SEARCH RETURN (UPDATE) FLAGGED")
    assert updates(lines) == ["ALL 2:3"]
    await client.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await client.do("EXPUNGE")
    assert updates(await client.do("STORE 1 -FLAGS.SILENT (\\Flagged)")) == ["REMOVEFROM (0 1)"]


async def test_a_sort_says_the_places(server: Server, client: Client) -> None:
    lines = await client.do("UID SORT RETURN (UPDATE CONTEXT ALL) (SUBJECT) UTF-8 UNDELETED")
    assert updates(lines) == ["UID ALL 2,1,3"]
    for subject in ("e", "a", "z"):
        await server.deliver(letter(subject))
    assert updates(await client.do("NOOP")) == ["UID ADDTO (1 5 3 4 6 6)"]
    # a d e m x z: places are counted from the last on
    lines = await client.do("UID STORE 2,3 +FLAGS.SILENT (\\Deleted)")
    assert updates(lines) == ["UID REMOVEFROM (5 3 2 2)"]
    assert updates(await client.do("UID STORE 2 -FLAGS.SILENT (\\Deleted)")) == ["UID ADDTO (2 2)"]


async def test_what_cannot_be_kept_is_said(client: Client) -> None:
    lines = await client.do("UID SEARCH RETURN (UPDATE) $")
    assert f'* NO [NOUPDATE "{client.tag}"] What $ stands for does not stay' in lines
    lines = await client.do("UID SEARCH RETURN (UPDATE (BODY.PEEK[])) ALL")
    assert f'* NO [NOUPDATE "{client.tag}"] Whole messages are not sent unasked' in lines
    for _ in range(20):
        assert len(await client.do("UID SEARCH RETURN (UPDATE) FLAGGED")) == 2
    lines = await client.do("UID SEARCH RETURN (UPDATE) FLAGGED")
    assert f'* NO [NOUPDATE "{client.tag}"] Too many contexts' in lines
    # the mailbox is left, and all is forgotten
    await client.do("SELECT INBOX")
    assert updates(await client.do("UID STORE 1 +FLAGS (\\Flagged)")) == []


async def test_numbers_in_a_search_mean_the_messages_of_its_moment(server: Server, client: Client) -> None:
    # RFC 5267 §4.3
    assert updates(await client.do("UID SEARCH RETURN (UPDATE) 1:3 FLAGGED")) == ["UID ALL 2:3"]
    await server.deliver(letter("new"), flags=4)
    await client.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await client.do("EXPUNGE")
    # what has the number 3 now is another message
    assert updates(await client.do("STORE 3 -FLAGS.SILENT (\\Flagged)")) == []
    assert updates(await client.do("STORE 2 -FLAGS.SILENT (\\Flagged)")) == ["UID REMOVEFROM (0 3)"]


async def test_a_tag_stands_for_one_search(client: Client) -> None:
    client.send("b01 UID SEARCH RETURN (UPDATE COUNT) FLAGGED")
    while not (await client.line()).startswith("b01 OK"):
        pass
    for command in ("SEARCH RETURN (UPDATE) ALL", "SORT RETURN (UPDATE) (SUBJECT) UTF-8 ALL"):
        client.send(f"b01 {command}")
        assert (await client.line()).startswith("b01 BAD ")
    await client.do('CANCELUPDATE "b01"')
    client.send("b01 SEARCH RETURN (UPDATE) ALL")
    assert (await client.line()).startswith("* ESEARCH")


async def test_of_new_messages_what_was_asked_for_is_told(server: Server, client: Client) -> None:
    # RFC 5465 §7: EXISTS, then FETCH, then ADDTO
    await client.do("ENABLE IMAP4rev2")
    command = "SEARCH RETURN (COUNT UPDATE (UID BODY[HEADER.FIELDS (SUBJECT)])) SUBJECT boss"
    await client.do(command)
    tag = client.tag
    await server.deliver(letter("boss"))
    await server.deliver(letter("else"))
    assert (await client.do("NOOP"))[:-1] == [
        "* 5 EXISTS",
        "* 4 FETCH (UID 4 BODY[HEADER.FIELDS (SUBJECT)] {17}",
        "Subject: boss",
        "",
        ")",
        f'* ESEARCH (TAG "{tag}") ADDTO (0 4)',
    ]
    # nothing is seen by that, and of what only has other flags nothing is fetched
    assert (await client.do("SEARCH RETURN (COUNT) SEEN"))[0].endswith("COUNT 0")
    await client.do("SEARCH RETURN (UPDATE (UID)) SEEN")
    assert not any("FETCH (UID 4)" in line for line in await client.do("STORE 4 +FLAGS.SILENT (\\Seen)"))
