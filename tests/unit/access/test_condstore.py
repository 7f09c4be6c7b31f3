"""Modseqs: who changed what first, and what a client missed while it was away (RFC 7162)."""

from __future__ import annotations

import re

import pytest

from posthouse.store import shared
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client


def modseqs(lines: list[str]) -> dict[int, int]:
    """UID → modseq, of FETCH responses."""
    found = {}
    for line in lines:
        uid, modseq = re.search(r"UID (\d+)", line), re.search(r"MODSEQ \((\d+)\)", line)
        if uid and modseq:
            found[int(uid[1])] = int(modseq[1])
    return found


def highest(lines: list[str]) -> int:
    """The last HIGHESTMODSEQ said."""
    return int(re.findall(r"HIGHESTMODSEQ (\d+)", " ".join(lines))[-1])


async def select(client: Client, parameters: str = "") -> tuple[int, list[str]]:
    """UIDVALIDITY, and all lines of SELECT INBOX."""
    lines = await client.do(f"SELECT INBOX{parameters}")
    assert lines[-1].startswith("OK"), lines
    return int(re.findall(r"UIDVALIDITY (\d+)", " ".join(lines))[0]), lines


async def test_modseq_is_told_to_those_who_know_of_it(server: Server) -> None:
    for _ in range(3):
        await server.deliver(LETTER)
    async with Client(server) as one, Client(server) as plain:
        _, lines = await select(one)
        before = highest(lines)
        await select(plain)
        # RFC 7162 §3.1.2.1, §3.1.7
        assert (await one.do("STATUS INBOX (HIGHESTMODSEQ)"))[:-1] == [
            f'* STATUS "INBOX" (HIGHESTMODSEQ {before})',
            f"* OK [HIGHESTMODSEQ {before}] The last change",
        ]
        # with it this client has shown that it knows: FETCH and STORE say MODSEQ now
        lines = await one.do("STORE 2 +FLAGS (\\Flagged)")
        (now,) = modseqs(lines).values()
        assert now > before
        assert lines[0] == f"* 2 FETCH (UID 2 MODSEQ ({now}) FLAGS (\\Flagged \\Recent))"
        assert await one.do("FETCH 2 (MODSEQ)") == [f"* 2 FETCH (MODSEQ ({now}))", "OK FETCH completed"]
        # the other does not, and is not bothered
        assert (await plain.do("NOOP"))[0] == "* 2 FETCH (UID 2 FLAGS (\\Flagged))"
        # §3.1.3: what is changed in silence has a new modseq all the same
        lines = await one.do("STORE 3 +FLAGS.SILENT (\\Seen)")
        assert lines == [f"* 3 FETCH (UID 3 MODSEQ ({now + 1}))", "OK STORE completed"]
        # §3.2.4: as has what a FETCH marks as seen
        assert modseqs(await one.do("FETCH 1 BODY[]")) == {1: now + 2}


async def test_a_store_leaves_alone_what_changed_meanwhile(server: Server) -> None:
    for _ in range(4):
        await server.deliver(LETTER)
    async with Client(server) as one, Client(server) as other:
        _, lines = await select(one, " (CONDSTORE)")
        known = highest(lines)
        await select(other)
        await other.do("STORE 2,4 +FLAGS (\\Seen)")
        await one.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await other.do("UID EXPUNGE 1")
        # given that 2 and 4 changed, and that the expunge of 1 may not be said yet
        lines = await one.do(f"STORE 2:4 (UNCHANGEDSINCE {known}) +FLAGS.SILENT (\\Flagged)")
        # then only 3 is changed, and MODIFIED names the others as the command did
        assert lines[-1] == "OK [MODIFIED 2,4] STORE completed"
        assert [line for line in lines if line.startswith("* 3 FETCH")]
        await other.do("NOOP")
        assert (await other.do("UID SEARCH FLAGGED"))[0] == "* SEARCH 3"
        lines = await one.do(f"UID STORE 2:4 (UNCHANGEDSINCE {known}) FLAGS (\\Draft)")
        assert lines[-1] == "OK [MODIFIED 2:4] STORE completed"
        await other.do("NOOP")
        assert (await other.do("UID SEARCH DRAFT"))[0] == "* SEARCH"


async def test_a_store_of_what_has_not_changed_is_not_refused(server: Server) -> None:
    # RFC 7162 §3.1.12: another flag is no reason
    for _ in range(3):
        await server.deliver(LETTER)
    async with Client(server) as one, Client(server) as other:
        _, lines = await select(one, " (CONDSTORE)")
        known = highest(lines)
        await select(other)
        await other.do("STORE 1:2 +FLAGS.SILENT (\\Seen Todo)")
        changes = f"STORE 1:3 (UNCHANGEDSINCE {known})"
        assert (await one.do(f"{changes} -FLAGS.SILENT (\\Seen)"))[-1].startswith("OK [MODIFIED 1:2]")
    async with Client(server) as one, Client(server) as other:
        _, lines = await select(one, " (CONDSTORE)")
        known = highest(lines)
        await select(other)
        await other.do("STORE 1:2 +FLAGS.SILENT (\\Answered Later)")
        lines = await one.do(f"STORE 1:3 (UNCHANGEDSINCE {known}) +FLAGS (\\Flagged Work)")
        assert lines[-1] == "OK STORE completed"
        assert "\\Answered" in lines[0]
        assert "\\Flagged" in lines[0]
        # what has been told since counts as known only to who says so
        changes = f"STORE 1:2 (UNCHANGEDSINCE {known})"
        assert (await one.do(f"{changes} +FLAGS (\\Draft)"))[-1].startswith("OK [MODIFIED 1:2]")
        known = highest(await one.do("STATUS INBOX (HIGHESTMODSEQ)"))
        await other.do("STORE 1:2 +FLAGS.SILENT (\\Draft)")
        for change in "+FLAGS.SILENT (\\Draft)", "FLAGS (\\Seen)", "-FLAGS (\\Draft Later)":
            lines = await one.do(f"STORE 1 (UNCHANGEDSINCE {known}) {change}")
            assert lines[-1].startswith("OK [MODIFIED 1]"), change


async def test_a_conditional_store_tells_the_modseq_of_what_was_so_already(server: Server) -> None:
    for _ in range(3):
        await server.deliver(LETTER)
    async with Client(server) as one:
        await select(one, " (CONDSTORE)")
        flagged = highest(
            await one.do("STORE 2 +FLAGS (\\Flagged)") + await one.do("STATUS INBOX (HIGHESTMODSEQ)")
        )
        await one.do("STORE 3 +FLAGS (\\Seen)")
        # RFC 7162 §3.1.3: .SILENT or not, each message that passed the test is told with its modseq
        lines = await one.do(f"STORE 1:3 (UNCHANGEDSINCE {flagged}) +FLAGS.SILENT (\\Flagged)")
        assert modseqs(lines) == {1: flagged + 2, 2: flagged}
        assert lines[-1] == "OK [MODIFIED 3] STORE completed"
        # without a condition, only what has changed
        assert await one.do("STORE 1:2 +FLAGS.SILENT (\\Flagged)") == ["OK STORE completed"]


async def test_a_keyword_is_set_by_the_first_of_several_who_try(server: Server) -> None:
    for _ in range(2):
        await server.deliver(LETTER)
    # RFC 7162 §3.1.3, examples 7 and 8: at 0 a keyword must not be there; a system flag always is
    claim = "STORE 1:2 (UNCHANGEDSINCE 0) +FLAGS.SILENT"
    async with Client(server) as one, Client(server) as other:
        await select(one)
        await select(other)
        await one.do("STORE 2 +FLAGS.SILENT (\\Seen $Forwarded)")
        assert (await one.do(f"{claim} ($MDNSent)"))[-1] == "OK STORE completed"
        assert (await other.do(f"{claim} ($mdnsent)"))[-1] == "OK [MODIFIED 1:2] STORE completed"
        assert (await other.do(f"{claim} ($Forwarded Mine)"))[-1] == "OK [MODIFIED 2] STORE completed"
        assert (await other.do(f"{claim} (Other \\Draft)"))[-1] == "OK [MODIFIED 1:2] STORE completed"
        assert (await other.do("SEARCH KEYWORD $MDNSent"))[0] == "* SEARCH 1 2"
        assert (await other.do("SEARCH KEYWORD Mine"))[0] == "* SEARCH 1"


async def test_changedsince_and_search_by_modseq(server: Server) -> None:
    for _ in range(4):
        await server.deliver(LETTER)
    async with Client(server) as one:
        _, lines = await select(one)
        known = highest(lines)
        await one.do("UID STORE 3 +FLAGS.SILENT (\\Seen)")
        await one.do("UID STORE 2 +FLAGS.SILENT (\\Seen)")
        lines = await one.do(f"FETCH 1:* (UID) (CHANGEDSINCE {known})")
        assert lines[0] == f"* 2 FETCH (UID 2 MODSEQ ({known + 2}))"
        assert lines[1] == f"* 3 FETCH (UID 3 MODSEQ ({known + 1}))"
        assert modseqs(await one.do(f"UID FETCH 1,3:4 (FLAGS) (CHANGEDSINCE {known})")) == {3: known + 1}
        assert (await one.do(f"SEARCH MODSEQ {known + 1}"))[0] == f"* SEARCH 2 3 (MODSEQ {known + 2})"
        assert (await one.do(f'SEARCH MODSEQ "/flags/\\\\seen" all {known + 9}'))[0] == "* SEARCH"
        lines = await one.do(f"SEARCH RETURN (MAX) MODSEQ {known + 1}")
        assert lines[0] == f'* ESEARCH (TAG "{one.tag}") MAX 3 MODSEQ {known + 1}'
        lines = await one.do(f"UID SEARCH RETURN (MIN COUNT) MODSEQ {known + 1}")
        assert lines[0] == f'* ESEARCH (TAG "{one.tag}") UID MIN 2 COUNT 2 MODSEQ {known + 2}'


async def test_leaving_for_another_mailbox_is_marked(server: Server) -> None:
    async with Client(server) as one:
        assert "CLOSED" not in " ".join(await one.do("SELECT INBOX"))
        assert (await one.do("SELECT Sent"))[0].startswith("* OK [CLOSED]")
        assert [line.split("]")[0] for line in await one.do("SELECT Nowhere")] == [
            "* OK [CLOSED",
            "NO [NONEXISTENT",
        ]
        assert "CLOSED" not in " ".join(await one.do("SELECT INBOX"))


async def test_vanished_takes_the_place_of_expunge(server: Server) -> None:
    for _ in range(6):
        await server.deliver(LETTER)
    async with Client(server) as one, Client(server) as other:
        assert (await one.do("ENABLE QRESYNC"))[0] == "* ENABLED QRESYNC"
        await select(one)
        await select(other)
        await other.do("STORE 1,3:4 +FLAGS.SILENT (\\Deleted)")
        await other.do("UID EXPUNGE 3:4")
        # RFC 7162 §3.2: no VANISHED while numbers are in use; modseqs may not run ahead of it unsaid
        lines = await one.do("FETCH 2 (UID)")
        assert not any("VANISHED" in line for line in lines)
        synced = highest(lines)
        lines = await one.do("NOOP")
        assert lines[0] == "* VANISHED 3:4"
        lines = await one.do("EXPUNGE")
        assert lines[0] == "* VANISHED 1"
        assert highest(lines) > synced
        lines = await one.do("MOVE 1 Trash")
        assert lines[1] == "* VANISHED 2"
        assert highest(lines) == highest(await one.do("STATUS INBOX (HIGHESTMODSEQ)"))
        assert await one.do("EXPUNGE") == ["OK EXPUNGE completed"]
        # a message that came and went between two commands was never there
        await server.deliver(LETTER, flags=8)
        await other.do("EXPUNGE")
        assert not any("VANISHED" in line for line in await one.do("NOOP"))


RESYNCS = [
    # everything that changed since, and every UID that has gone since
    ("{modseq}", "* VANISHED (EARLIER) 3,5:6", {2, 9}),
    # RFC 7162 §3.2.5.1: only of the known UIDs
    ("{modseq} 1:5", "* VANISHED (EARLIER) 3,5", {2}),
    ("{modseq} 7:9", "", {9}),
    # §3.2.5.2: where a sample still matches, what is below it is known
    ("{modseq} (1,3 1,4)", "* VANISHED (EARLIER) 5:6", {2, 9}),
    ("{modseq} 1:9 (1:2,4 1:2,5)", "* VANISHED (EARLIER) 3,5:6", {2, 9}),
    # nothing has changed since now
    ("{now}", "", set()),
    # another UIDVALIDITY: the client has to begin anew
    ("other", "", set()),
]


@pytest.mark.parametrize(("known", "vanished", "changed"), RESYNCS)
async def test_resync_tells_what_was_missed(
    server: Server, known: str, vanished: str, changed: set[int]
) -> None:
    # given eight messages and a client that has left
    for _ in range(8):
        await server.deliver(LETTER)
    async with Client(server) as one:
        validity, lines = await select(one)
        modseq = highest(lines)
        # when 3, 5 and 6 go, 2 changes and 9 arrives
        await one.do("STORE 3,5:6 +FLAGS.SILENT (\\Deleted)")
        await one.do("EXPUNGE")
        await one.do("UID STORE 2 +FLAGS.SILENT (\\Seen)")
        await server.deliver(LETTER)
        now = highest(await one.do("STATUS INBOX (HIGHESTMODSEQ)"))
    async with Client(server) as one:
        assert (await one.do(f"SELECT INBOX (QRESYNC ({validity} {modseq}))"))[-1].startswith("BAD")
        await one.do("ENABLE QRESYNC")
        if known == "other":
            validity, known = validity + 1, str(modseq)
        _, lines = await select(one, f" (QRESYNC ({validity} {known.format(modseq=modseq, now=now)}))")
        # then it is told just that
        assert [line for line in lines if "VANISHED" in line] == ([vanished] if vanished else [])
        assert set(modseqs(lines)) == changed
        if vanished == RESYNCS[0][1]:
            lines = await one.do(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq} VANISHED)")
            assert lines[0] == vanished
            assert set(modseqs(lines)) == changed


async def test_resync_tells_the_same_where_a_worker_no_longer_remembers_what_changed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given changes of flags and an expunge since a client was here, more than the worker remembers
    monkeypatch.setattr(shared, "REMEMBERED", 2)
    for _ in range(8):
        await server.deliver(LETTER)
    async with Client(server) as one:
        validity, lines = await select(one)
        modseq = highest(lines)
        for uid in (2, 5, 7):
            await one.do(f"UID STORE {uid} +FLAGS (\\Seen)")
        middle = highest(await one.do("STATUS INBOX (HIGHESTMODSEQ)"))
        await one.do("UID STORE 3 +FLAGS (\\Deleted)")
        await one.do("EXPUNGE")
        await one.do("UID STORE 8 +FLAGS (\\Seen)")
    # when it comes back, having seen none or some of them
    for since, changed in ((modseq, {2, 5, 7, 8}), (middle, {8})):
        async with Client(server) as one:
            await one.do("ENABLE QRESYNC")
            _, lines = await select(one, f" (QRESYNC ({validity} {since}))")
            # then
            assert "* VANISHED (EARLIER) 3" in lines
            assert set(modseqs(lines)) == changed
            of_some = await one.do(f"FETCH 2:4 (UID FLAGS) (CHANGEDSINCE {since})")
            assert len(modseqs(of_some)) == len(changed & {2, 4, 5})


async def test_what_is_no_longer_remembered_is_told_in_full(server: Server) -> None:
    for _ in range(5):
        await server.deliver(LETTER)
    async with Client(server) as one:
        validity, lines = await select(one)
        modseq = highest(lines)
        await one.do("STORE 2,4 +FLAGS.SILENT (\\Deleted)")
        await one.do("EXPUNGE")
    # given that the tombstones have been dropped
    await server.database.write(
        [],
        lambda tx: (
            tx.run("DELETE FROM expunged"),
            tx.run("UPDATE mailbox SET forgotten = modseq"),
        ),
    )
    async with Client(server) as one:
        await one.do("ENABLE QRESYNC")
        _, lines = await select(one, f" (QRESYNC ({validity} {modseq}))")
        assert "* VANISHED (EARLIER) 2,4" in lines
        # the samples spare the client what it knows already (RFC 7162 §3.2.5.2)
        _, lines = await select(one, f" (QRESYNC ({validity} {modseq} 1:5 (2 3)))")
        assert "* VANISHED (EARLIER) 4" in lines


@pytest.mark.parametrize("left", [1, 0])
async def test_what_was_the_last_message_vanishes_from_one_to_star(server: Server, left: int) -> None:
    for _ in range(3):
        await server.deliver(LETTER)
    async with Client(server) as one:
        _, lines = await select(one)
        modseq = highest(lines)
        await one.do(f"STORE {left + 1}:* +FLAGS.SILENT (\\Deleted)")
        await one.do("EXPUNGE")
    # when a client asks for all it knows, which now reaches beyond the last message there is
    async with Client(server) as one:
        await one.do("ENABLE QRESYNC")
        await select(one)
        lines = await one.do(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq} VANISHED)")
        assert lines[0] == f"* VANISHED (EARLIER) {left + 1}:3"


async def test_samples_of_any_size_take_no_time(server: Server) -> None:
    await server.deliver(LETTER)
    async with Client(server) as one:
        await one.do("ENABLE QRESYNC")
        validity, _ = await select(one)
        largest = 2**32 - 1
        _, lines = await select(one, f" (QRESYNC ({validity} 1 1:{largest} (1:{largest} 1:{largest})))")
        assert not any("VANISHED" in line for line in lines)
