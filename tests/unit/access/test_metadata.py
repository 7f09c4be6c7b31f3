"""Annotations of mailboxes and of the server (RFC 5464), with LIST as well (RFC 9590)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from posthouse.store import metadata
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client

NOWHERE = "NO [NONEXISTENT] There is no mailbox "


@pytest.fixture
async def bob(server: Server) -> AsyncIterator[Client]:
    async with Client(server) as client:
        yield client


@pytest.fixture
async def eve(server: Server) -> AsyncIterator[Client]:
    async with Client(server, "eve") as client:
        yield client


async def test_entries_are_set_got_and_removed(bob: Client) -> None:
    assert await bob.do('SETMETADATA INBOX (/private/Comment "mine" /shared/comment {3+}\r\nall)') == [
        "OK SETMETADATA completed"
    ]
    assert (await bob.do("GETMETADATA INBOX (/PRIVATE/comment /shared/comment /private/none)"))[0] == (
        '* METADATA "INBOX" (/private/comment "mine" /shared/comment "all" /private/none NIL)'
    )
    # all or nothing, and NIL removes
    await bob.do('SETMETADATA INBOX (/private/comment NIL /shared/comment "ours")')
    assert (await bob.do("GETMETADATA INBOX (/private/comment /shared/comment)"))[0] == (
        '* METADATA "INBOX" (/private/comment NIL /shared/comment "ours")'
    )
    assert (await bob.do("GETMETADATA nowhere /private/comment"))[-1] == NOWHERE + "nowhere"
    assert (await bob.do('SETMETADATA nowhere (/private/comment "x")'))[-1] == NOWHERE + "nowhere"


async def test_entries_below_others_and_long_values_are_told_as_asked(bob: Client) -> None:
    values = " ".join(
        f'/private/filters/{name} "{"x" * size}"' for name, size in (("a", 5), ("a/b", 50), ("c", 9))
    )
    await bob.do(f"SETMETADATA INBOX ({values})")
    get = "GETMETADATA ({}) INBOX /private/filters"
    assert (await bob.do(get.format("DEPTH 1")))[0] == (
        f'* METADATA "INBOX" (/private/filters NIL /private/filters/a "xxxxx" /private/filters/c "{"x" * 9}")'
    )
    lines = await bob.do(get.format("MAXSIZE 8 DEPTH infinity"))
    assert lines == [
        '* METADATA "INBOX" (/private/filters NIL /private/filters/a "xxxxx")',
        "OK [METADATA LONGENTRIES 50] GETMETADATA completed",
    ]
    assert "/private/filters/a/b" in (await bob.do("GETMETADATA (DEPTH infinity) INBOX /private"))[0]


async def test_octets_come_back_as_they_were(bob: Client) -> None:
    bob.writer.write(b"x SETMETADATA INBOX (/private/octets ~{4+}\r\na\0\xffb)\r\n")
    assert await bob.line() == "x OK SETMETADATA completed"
    bob.send("y GETMETADATA INBOX /private/octets")
    assert await bob.line() == '* METADATA "INBOX" (/private/octets ~{4}'
    assert await bob.reader.readexactly(7) == b"a\0\xffb)\r\n"
    assert await bob.line() == "y OK GETMETADATA completed"


async def test_there_is_a_limit_to_everything(bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    too_long = "x" * (metadata.VALUE_LIMIT + 1)
    lines = await bob.do(f'SETMETADATA INBOX (/private/a "1" /private/b {{{len(too_long)}+}}\r\n{too_long})')
    assert lines[-1].startswith(f"NO [METADATA MAXSIZE {metadata.VALUE_LIMIT}]")
    assert (await bob.do("GETMETADATA INBOX /private/a"))[0].endswith("(/private/a NIL)")
    monkeypatch.setattr(metadata, "ENTRIES_LIMIT", 2)
    assert (await bob.do('SETMETADATA INBOX (/private/a "1" /private/b "1")'))[-1].startswith("OK")
    assert (await bob.do('SETMETADATA INBOX (/private/c "1")'))[-1].startswith("NO [METADATA TOOMANY]")
    assert (await bob.do('SETMETADATA INBOX (/private/c "1" /private/a NIL)'))[-1].startswith(
        "NO [METADATA TOO"
    )
    assert (await bob.do('SETMETADATA INBOX (/private/a NIL /private/c "1")'))[-1].startswith("OK")
    monkeypatch.setattr(metadata, "TOTAL_LIMIT", 2)
    assert (await bob.do('SETMETADATA Sent (/shared/c "1")'))[-1].startswith("NO [METADATA TOOMANY]")


async def test_entries_go_with_their_mailbox_wherever_it_goes(bob: Client) -> None:
    await bob.do("CREATE one")
    await bob.do('SETMETADATA one (/private/comment "x")')
    await bob.do("RENAME one two")
    assert (await bob.do("GETMETADATA two /private/comment"))[0] == '* METADATA "two" (/private/comment "x")'
    # RFC 5464 §4.1: INBOX keeps what goes with its messages
    await bob.do('SETMETADATA INBOX (/private/comment "y")')
    await bob.do("RENAME INBOX old")
    for name in ("INBOX", "old"):
        assert (await bob.do(f"GETMETADATA {name} /private/comment"))[0].endswith(' (/private/comment "y")')
    await bob.do("DELETE two")
    await bob.do("CREATE two")
    assert (await bob.do("GETMETADATA two /private/comment"))[0].endswith("NIL)")


async def test_the_server_has_entries_that_administrators_set(
    bob: Client, eve: Client, server: Server
) -> None:
    await server.database.write([], lambda tx: tx.run("UPDATE account SET admin = 1 WHERE id = 1"))
    assert (await bob.do('SETMETADATA "" (/shared/comment "ours")'))[-1].startswith("OK")
    assert (await eve.do('SETMETADATA "" (/shared/comment "hers")'))[-1].startswith("NO [NOPERM]")
    assert (await eve.do('SETMETADATA "" (/private/comment "hers")'))[-1].startswith("OK")
    assert (await eve.do('GETMETADATA "" (/shared/comment /private/comment)'))[0] == (
        '* METADATA "" (/shared/comment "ours" /private/comment "hers")'
    )
    # RFC 5464 §3.2.1.1: how to reach whoever runs the server is told, and set by no client
    assert (await bob.do('SETMETADATA "" (/shared/admin "mailto:me")'))[-1].startswith("NO [NOPERM]")
    assert (await eve.do('GETMETADATA "" /shared/admin'))[0] == (
        '* METADATA "" (/shared/admin "mailto:postmaster@example.org")'
    )
    assert "/shared/admin " in (await eve.do('GETMETADATA (DEPTH 1) "" /shared'))[0]
    assert (await bob.do('GETMETADATA "" /private/comment'))[0] == '* METADATA "" (/private/comment NIL)'


async def test_private_entries_of_a_shared_mailbox_are_each_readers_own(bob: Client, eve: Client) -> None:
    inbox = '"Other Users/bob@example.org/INBOX"'
    await bob.do('SETMETADATA INBOX (/private/comment "his" /shared/comment "ours")')
    assert (await eve.do(f"GETMETADATA {inbox} /shared/comment"))[-1].startswith(NOWHERE)
    # RFC 5464 §3.3: `l` alone is not enough
    await bob.do("SETACL INBOX eve l")
    assert (await eve.do(f"GETMETADATA {inbox} /shared/comment"))[-1].startswith(NOWHERE)
    await bob.do("SETACL INBOX eve lr")
    assert (await eve.do(f'SETMETADATA {inbox} (/shared/comment "hers")'))[-1].startswith("NO [NOPERM]")
    assert (await eve.do(f'SETMETADATA {inbox} (/private/specialuse "\\\\Sent")'))[-1].startswith(
        "NO [USEATTR]"
    )
    assert (await eve.do(f'SETMETADATA {inbox} (/private/comment "hers")'))[-1].startswith("OK")
    assert (await eve.do(f"GETMETADATA {inbox} (/private/comment /shared/comment)"))[0] == (
        f'* METADATA {inbox} (/private/comment "hers" /shared/comment "ours")'
    )
    assert (await bob.do("GETMETADATA INBOX /private/comment"))[0].endswith('"his")')
    await bob.do("SETACL INBOX eve +w")
    assert (await eve.do(f'SETMETADATA {inbox} (/shared/comment "hers")'))[-1].startswith("OK")


async def test_list_returns_annotations(bob: Client, eve: Client) -> None:
    await bob.do('SETMETADATA Sent (/shared/comment "far too long")')
    await bob.do('SETMETADATA INBOX (/shared/comment "ours")')
    await bob.do("SETACL INBOX eve lr")
    lines = await bob.do('LIST "" (INBOX Sent Drafts) RETURN (METADATA (MAXSIZE 5) /shared/comment)')
    assert [line for line in lines if line.startswith("* METADATA")] == [
        '* METADATA "INBOX" (/shared/comment "ours")',
        '* METADATA "Drafts" (/shared/comment NIL)',
    ]
    assert lines[-1] == "OK [METADATA LONGENTRIES 12] LIST completed"
    lines = await eve.do('LIST "" "Other Users/*" RETURN (METADATA (/shared/comment))')
    assert '* METADATA "Other Users/bob@example.org/INBOX" (/shared/comment "ours")' in lines


async def test_what_a_mailbox_is_for_is_an_annotation_too(bob: Client) -> None:
    # RFC 6154 §4
    await bob.do("CREATE Gone")
    get = "GETMETADATA {} /private/specialuse"
    assert (await bob.do(get.format("Trash")))[0] == '* METADATA "Trash" (/private/specialuse "\\\\Trash")'
    taken = await bob.do('SETMETADATA Gone (/private/specialuse "\\\\Trash")')
    assert taken[-1].startswith("NO [USEATTR]")
    await bob.do("SETMETADATA Trash (/private/specialuse NIL)")
    assert (await bob.do('SETMETADATA Gone (/private/specialuse "\\\\trash")'))[-1].startswith("OK")
    assert "\\Trash" in (await bob.do('LIST "" Gone'))[0]
    assert (await bob.do('SETMETADATA Gone (/private/specialuse "\\\\All")'))[-1].startswith("NO [USEATTR]")


async def test_an_annotation_is_a_change_of_its_mailbox(bob: Client) -> None:
    # RFC 7162 §3.2
    before = await bob.do("STATUS INBOX (HIGHESTMODSEQ)")
    other = await bob.do("STATUS Sent (HIGHESTMODSEQ)")
    await bob.do('SETMETADATA INBOX (/private/comment "x")')
    assert (await bob.do("STATUS INBOX (HIGHESTMODSEQ)"))[0] > before[0]
    assert await bob.do("STATUS Sent (HIGHESTMODSEQ)") == other
