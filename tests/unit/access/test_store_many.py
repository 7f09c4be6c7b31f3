"""STORE of many messages at once, which is written down as one change: no client can tell."""

from __future__ import annotations

import re

import pytest

from posthouse.mail.envelope import AccountId
from posthouse.store import wide
from tests.unit.access.conftest import Server
from tests.unit.access.test_condstore import highest, modseqs, select
from tests.unit.access.test_sessions import LETTER, Client

FLAGS = r"\* (\d+) FETCH \((?:UID \d+ )?FLAGS \(([^)]*)\)\)"


@pytest.fixture(autouse=True)
def three_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide, "MANY", 3)


@pytest.fixture
async def filled(server: Server) -> Server:
    """INBOX with five messages."""
    for _ in range(5):
        await server.deliver(LETTER)
    return server


async def pending(server: Server) -> int:
    """Changes of bob's INBOX that no row shows."""
    row = await server.database.read(
        lambda reader: reader.one("SELECT account, id FROM mailbox WHERE name = 'INBOX' AND uidnext > 1")
    )
    assert row is not None
    account, mailbox = AccountId(row[0]), row[1]
    return len(await server.database.read(lambda reader: wide.pending(reader, account, mailbox)))


def flags(lines: list[str]) -> dict[int, set[str]]:
    """Message → flags, as FETCH responses say them."""
    found = [re.match(FLAGS, line) for line in lines]
    return {int(one[1]): set(one[2].split()) - {"\\Recent"} for one in found if one}


async def test_everybody_sees_it_at_once(filled: Server) -> None:
    async with Client(filled) as one, Client(filled) as other:
        await one.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        # when one session flags four of five, and one of those is flagged before
        await one.do("STORE 2 +FLAGS.SILENT (\\Flagged)")
        await other.do("NOOP")
        said = await one.do("STORE 1:4 +FLAGS (\\Flagged \\Seen)")
        # then it is told the flags of each it has named, and no row was written
        expected = {number: {"\\Flagged", "\\Seen"} for number in range(1, 5)}
        assert flags(said) == expected
        assert await pending(filled) == 1
        # and the other session is told, and one that comes, and one that only asks
        assert flags(await other.do("NOOP")) == expected
        assert flags(await other.do("FETCH 1:* (FLAGS)")) == expected | {5: set()}
        async with Client(filled) as third:
            assert (await third.do("STATUS INBOX (MESSAGES UNSEEN)"))[0].endswith("(MESSAGES 5 UNSEEN 1)")
            await third.do("SELECT INBOX")
            assert flags(await third.do("FETCH 1:* (FLAGS)")) == expected | {5: set()}
            assert (await third.do("SEARCH UNSEEN"))[0] == "* SEARCH 5"


async def test_silent_says_nothing_but_modseqs_to_who_knows_of_them(filled: Server) -> None:
    async with Client(filled) as one, Client(filled) as plain:
        await plain.do("SELECT INBOX")
        assert await plain.do("STORE 1:* +FLAGS.SILENT (\\Flagged)") == ["OK STORE completed"]
        assert await plain.do("STORE 1:* +FLAGS.SILENT (\\Flagged)") == ["OK STORE completed"]
        before = highest((await select(one, " (CONDSTORE)"))[1])
        await one.do("STORE 2 +FLAGS.SILENT (\\Seen)")
        said = await one.do("STORE 1:* +FLAGS.SILENT (\\Seen)")
        # RFC 7162 §3.1.3: those that changed have a new modseq; message 2 has the one it had
        assert modseqs(said) == dict.fromkeys((1, 3, 4, 5), before + 2)
        assert not flags(said)
        assert modseqs(await one.do("FETCH 2 (UID MODSEQ)")) == {2: before + 1}


async def test_a_client_that_was_away_learns_of_it(filled: Server) -> None:
    async with Client(filled) as one, Client(filled) as back:
        uidvalidity, lines = await select(one, " (CONDSTORE)")
        await one.do("STORE 1:3 +FLAGS.SILENT (\\Answered)")
        await back.do("ENABLE QRESYNC")
        _, lines = await select(back, f" (QRESYNC ({uidvalidity} {highest(lines)}))")
        assert set(modseqs(lines)) == {1, 2, 3}
        # and what it would change on top of that is refused (§3.1.3)
        refused = await back.do("STORE 1:* (UNCHANGEDSINCE 1) +FLAGS.SILENT (\\Seen)")
        assert refused[-1].startswith("OK [MODIFIED 1:5]")


async def test_what_is_marked_so_is_expunged_moved_and_copied_so(filled: Server) -> None:
    async with Client(filled) as one:
        await one.do("SELECT INBOX")
        await one.do("STORE 1:3 +FLAGS.SILENT (\\Flagged)")
        await one.do("COPY 3:4 Archive")
        await one.do("MOVE 3 Archive")
        await one.do("STORE 2:4 +FLAGS.SILENT (\\Deleted)")
        assert (await one.do("EXPUNGE"))[:-1] == ["* 4 EXPUNGE", "* 3 EXPUNGE", "* 2 EXPUNGE"]
        assert flags(await one.do("FETCH 1:* (FLAGS)")) == {1: {"\\Flagged"}}
        await one.do("SELECT Archive")
        assert flags(await one.do("FETCH 1:* (FLAGS)")) == {1: {"\\Flagged"}, 2: set(), 3: {"\\Flagged"}}


async def test_a_session_that_does_not_know_all_is_told_what_others_did(filled: Server) -> None:
    async with Client(filled) as one, Client(filled) as other:
        await one.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        # given that the other has changed, and removed, what this one knows nothing of
        await other.do("STORE 1 +FLAGS.SILENT (\\Answered \\Deleted)")
        await other.do("STORE 2 +FLAGS.SILENT (\\Answered)")
        await other.do("EXPUNGE")
        # when this one marks them all, then it is told what it could not know
        said = await one.do("STORE 1:* +FLAGS.SILENT (\\Seen)")
        assert flags(said) == {2: {"\\Answered", "\\Seen"}}
        # and once more, while the expunge is still to be said
        assert await one.do("STORE 1:* +FLAGS.SILENT (\\Draft)") == ["OK STORE completed"]
        assert (await one.do("NOOP"))[0] == "* 1 EXPUNGE"
        expected = {number: {"\\Seen", "\\Draft"} for number in (2, 3, 4)}
        assert flags(await one.do("FETCH 1:* (FLAGS)")) == {1: {"\\Answered", "\\Seen", "\\Draft"}} | expected
        assert await one.do("STORE 1:* +FLAGS.SILENT (\\Flagged)") == ["OK STORE completed"]
        assert flags(await other.do("NOOP")) == {
            number: had | {"\\Flagged"}
            for number, had in ({1: {"\\Answered", "\\Seen", "\\Draft"}} | expected).items()
        }
