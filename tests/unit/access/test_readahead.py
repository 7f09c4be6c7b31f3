"""Messages read before they are asked for: the right ones, never one that is gone, and not too many."""

from __future__ import annotations

from array import array

import pytest

from posthouse.access.imap.readahead import NOTHING_READ, ReadAhead, Reading, next_reading
from posthouse.mail.envelope import AccountId
from posthouse.store.read import Column
from tests.imapclient import ImapClient
from tests.unit.access.conftest import PREFIX, Server

_COLUMNS = (Column.UID, Column.PREFIX, Column.HEAD)
_ACCOUNT = AccountId(1)


class Client(ImapClient):
    def __init__(self, server: Server, login: str = "bob") -> None:
        super().__init__(server.imap_port, login, "secret")


def _letter(number: int, text: str = "Hello") -> bytes:
    return f"From: alice@example.net\r\nSubject: {number}\r\n\r\n{text} {number}\r\n".encode()


def _said(number: int, uid: int, letter: bytes) -> list[str]:
    octets = (PREFIX + letter).decode()
    text = f"* {number} FETCH (UID {uid} BODY[] {{{len(octets)}}}\r\n{octets})"
    return [*text.split("\r\n"), "OK FETCH completed"]


async def test_who_takes_one_after_the_other_gets_each_message_and_others_get_theirs(server: Server) -> None:
    for number in range(1, 21):
        await server.deliver(_letter(number))
        await server.deliver(_letter(number, "For Eve"), account=2)
    async with Client(server) as bob, Client(server, "eve") as eve:
        await bob.do("SELECT INBOX")
        await eve.do("SELECT INBOX")
        waited = 0
        for number in range(1, 21):
            # when both take their messages one by one
            for client, letter in ((bob, _letter(number)), (eve, _letter(number, "For Eve"))):
                answer = await client.do(f"UID FETCH {number} (BODY.PEEK[])")
                # then each gets its own
                assert answer == _said(number, number, letter)
            waited = max(waited, len(server.services.read_ahead))
        # and some of them had been read before
        assert waited > 2
        assert len(server.services.read_ahead) == 0


async def test_a_message_read_ahead_is_not_served_once_it_is_expunged(server: Server) -> None:
    for number in range(1, 9):
        await server.deliver(_letter(number))
    async with Client(server) as one, Client(server) as other:
        await one.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        # given a session for which 4 to 7 have been read ahead
        for number in (1, 2, 3):
            await one.do(f"FETCH {number} (BODY.PEEK[])")
        await one.do("FETCH 4 (BODY.PEEK[])")
        assert len(server.services.read_ahead) == 3
        # when another one removes 5 and 6
        await other.do("STORE 5:6 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        # then neither their numbers nor their UIDs bring them back
        assert await one.do("FETCH 5 (BODY.PEEK[])") == [
            "NO [EXPUNGEISSUED] Some of the messages have been expunged"
        ]
        answer = await one.do("UID FETCH 6 (BODY.PEEK[])")
        assert answer == ["* 6 EXPUNGE", "* 5 EXPUNGE", "OK FETCH completed"]
        # and 7, which has moved, is what it was
        assert await one.do("UID FETCH 7 (BODY.PEEK[])") == _said(5, 7, _letter(7))


def test_more_is_read_the_longer_a_session_goes_on_and_one_when_it_jumps() -> None:
    sizes = array("q", [1000] * 100)
    reading, taken = NOTHING_READ, []
    for _ in range(6):
        reading = next_reading(reading, _COLUMNS, max(reading.following, 0), sizes)
        taken.append(reading.messages)
    assert taken == [1, 2, 4, 8, 16, 32]
    assert next_reading(reading, _COLUMNS, 10, sizes) == Reading(_COLUMNS, 11, 1)
    assert next_reading(reading, _COLUMNS[:2], 63, sizes).messages == 1
    # at the end of the mailbox there is no more to read
    assert next_reading(reading, _COLUMNS, reading.following, sizes[:70]).following == 70


def test_large_messages_are_not_read_ahead_in_number() -> None:
    sizes = array("q", [100_000] * 100)
    assert next_reading(Reading(_COLUMNS, 50, 32), _COLUMNS, 50, sizes).messages == 2


def test_what_waits_is_bounded_and_the_oldest_goes_first() -> None:
    ahead = ReadAhead(octets=250)
    for uid in (1, 2, 3):
        ahead.keep([((_ACCOUNT, 7, _COLUMNS, uid), (uid, b"p" * 50, b"h" * 50))])
    assert ahead.take((_ACCOUNT, 7, _COLUMNS, 1)) is None
    assert ahead.take((_ACCOUNT, 7, _COLUMNS, 3)) == (3, b"p" * 50, b"h" * 50)
    assert ahead.take((_ACCOUNT, 7, _COLUMNS, 3)) is None
    # what was taken makes room
    ahead.keep([((_ACCOUNT, 7, _COLUMNS, uid), (uid, b"p" * 100, b"")) for uid in (4,)])
    assert ahead.take((_ACCOUNT, 7, _COLUMNS, 2)) is not None


@pytest.mark.parametrize(
    "items",
    [
        "(BODY.PEEK[])",
        "(UID FLAGS RFC822.SIZE BODY.PEEK[])",
        "(FLAGS BODY.PEEK[TEXT] BODY.PEEK[])",
        "BODY.PEEK[TEXT]",
        "(BODY[])",
        "RFC822",
        "(FLAGS RFC822.SIZE)",
        "(BODY.PEEK[]<3.9>)",
        "(MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
    ],
)
async def test_what_waits_is_said_as_if_it_had_just_been_read(server: Server, items: str) -> None:
    for number in range(1, 13):
        for account in (1, 2):
            text = ("x" * 70 + "\r\n") * 1000 if number % 4 == 0 else "Hello"
            await server.deliver(_letter(number, text), account=account)
    for word in ("FETCH", "UID FETCH"):
        async with Client(server) as bob, Client(server, "eve") as eve:
            await bob.do("SELECT INBOX")
            # given one who takes them in their order, and one who goes back and forth
            one_by_one = [(number, await bob.do(f"{word} {number} {items}")) for number in range(1, 13)]
            for number, answer in sorted(one_by_one, key=lambda pair: pair[0] * 5 % 13):
                await eve.do("SELECT INBOX")
                # then both are told the same, and of the same flags
                assert _without_news(await eve.do(f"{word} {number} {items}")) == _without_news(answer)


def _without_news(lines: list[str]) -> list[str]:
    """\\Recent, and a first MODSEQ, are told to the first who comes."""
    return [line.replace("\\Recent", "").replace(" )", ")") for line in lines if "HIGHESTMODSEQ" not in line]
