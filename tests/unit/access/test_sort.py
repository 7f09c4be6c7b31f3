"""SORT and THREAD over a real mailbox (RFC 5256, RFC 5267)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.access.conftest import ARRIVED, Server
from tests.unit.access.test_sessions import Client

LETTERS = [
    # subject, from, to, cc, date, message-id, references, octets of body
    ("Re: Beta", "zoe@x.test", "m@x.test", "", "Mon, 02 Nov 2026 10:00:00 +0000", "<2@x>", "<1@x>", 50),
    (
        "=?utf-8?q?=C3=84pfel?=",
        "Bob <bob@x.test>",
        "k@x.test",
        "q@x",
        "Mon, 02 Nov 2026 09:30:00 +0100",
        "<4@x>",
        "",
        10,
    ),
    ("beta", "amy@y.test", '"l" <L@x.test>', "", "Mon, 02 Nov 2026 09:00:00 +0000", "<1@x>", "", 30),
    ('[list] "alpha"', '"odd name" <"b c"@x.test>', "", "", "nonsense", "<5@x>", "", 20),
    ("", "", "", "", "Sun, 01 Nov 2026 09:00:00 +0000", "<3@x>", "<1@x> <2@x>", 40),
]


def letter(
    subject: str, sender: str, to: str, cc: str, date: str, id: str, references: str, size: int
) -> bytes:
    fields = {
        "From": sender, "To": to, "Cc": cc, "Subject": subject, "Date": date, "Message-ID": id,
        "References": references,
    }  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return (head + "\r\n" + "x" * size + "\r\n").encode()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    await server.deliver(b"Subject: gone\r\n\r\n", flags=8)
    for number, row in enumerate(LETTERS):
        await server.deliver(letter(*row), flags=number == 2)
    async with Client(server) as one:
        await one.do("SELECT INBOX")
        await one.do("EXPUNGE")
        yield one


SORTS = [
    ("SORT (SUBJECT) UTF-8 ALL", "5 4 2 1 3"),
    # RFC 5256 §3: equals keep the order of the mailbox, also where it is reversed
    ("SORT (REVERSE SUBJECT) UTF-8 ALL", "1 3 2 4 5"),
    ("SORT (SUBJECT DATE) UTF-8 ALL", "5 4 2 3 1"),
    # a Date that names no moment: that of arrival, 2 November 13:04
    ("SORT (DATE) UTF-8 ALL", "5 2 3 1 4"),
    ("SORT (ARRIVAL) UTF-8 ALL", "1 2 3 4 5"),
    ("SORT (REVERSE ARRIVAL) UTF-8 ALL", "1 2 3 4 5"),
    ("SORT (FROM) UTF-8 ALL", "5 3 4 2 1"),
    ("SORT (TO REVERSE DATE) UTF-8 ALL", "4 5 2 3 1"),
    ("SORT (CC) US-ASCII ALL", "1 3 4 5 2"),
    ("SORT (REVERSE SIZE) UTF-8 1:3", "1 2 3"),
    # RFC 5957 §3: the display name, or the whole address where there is none
    ("SORT (DISPLAYFROM) UTF-8 ALL", "5 3 2 4 1"),
    ("SORT (REVERSE DISPLAYFROM) UTF-8 ALL", "1 4 2 3 5"),
    ("SORT (DISPLAYTO) UTF-8 ALL", "4 5 2 3 1"),
    ("UID SORT (DATE) UTF-8 UNSEEN", "6 3 2 5"),
    ("SORT (DATE) UTF-8 DRAFT", ""),
]


@pytest.mark.parametrize(("command", "wanted"), SORTS)
async def test_sort(client: Client, command: str, wanted: str) -> None:
    assert (await client.do(command))[0] == ("* SORT " + wanted).rstrip()


async def test_a_sort_returns_what_is_asked_for(client: Client) -> None:
    lines = await client.do("UID SORT RETURN () (REVERSE DATE) UTF-8 ALL")
    assert lines[0] == f'* ESEARCH (TAG "{client.tag}") UID ALL 5,2,4,3,6'
    # RFC 5267 §3.1: the first and the last as sorted
    lines = await client.do("SORT RETURN (MIN MAX COUNT) (DATE) UTF-8 ALL")
    assert lines[0] == f'* ESEARCH (TAG "{client.tag}") MIN 5 MAX 4 COUNT 5'
    lines = await client.do("SORT RETURN (PARTIAL 2:3) (DATE) UTF-8 ALL")
    assert lines[0] == f'* ESEARCH (TAG "{client.tag}") PARTIAL (2:3 2:3)'
    lines = await client.do("SORT RETURN (PARTIAL -1:-2) (DATE) UTF-8 ALL")
    assert lines[0] == f'* ESEARCH (TAG "{client.tag}") PARTIAL (-1:-2 1,4)'
    await client.do("SORT RETURN (SAVE) (DATE) UTF-8 UNSEEN")
    assert (await client.do("SEARCH $"))[0] == "* SEARCH 1 2 4 5"
    lines = await client.do("SORT (DATE) UTF-8 MODSEQ 1")
    assert lines[0].startswith("* SORT 5 2 3 1 4 (MODSEQ ")


async def test_thread(client: Client) -> None:
    assert (await client.do("THREAD REFERENCES UTF-8 ALL"))[0] == "* THREAD (2)(3 1 5)(4)"
    assert (await client.do("UID THREAD REFERENCES UTF-8 NOT 3"))[0] == "* THREAD (3)(2 6)(5)"
    assert (await client.do("THREAD ORDEREDSUBJECT UTF-8 ALL"))[0] == "* THREAD (5)(2)(3 1)(4)"
    assert (await client.do("THREAD REFERENCES UTF-8 DRAFT"))[0] == "* THREAD"


async def test_threads_follow_what_comes_and_goes(server: Server, client: Client) -> None:
    by_numbers, by_uids = "THREAD REFERENCES UTF-8 ALL", "UID THREAD REFERENCES UTF-8 ALL"
    for _ in range(2):  # the second time they are known
        assert (await client.do(by_numbers))[0] == "* THREAD (2)(3 1 5)(4)"
        assert (await client.do(by_uids))[0] == "* THREAD (3)(4 2 6)(5)"
        assert (await client.do("THREAD ORDEREDSUBJECT UTF-8 ALL"))[0] == "* THREAD (5)(2)(3 1)(4)"
    # when one goes and one comes
    await client.do("STORE 2 +FLAGS.SILENT (\\Deleted)")
    await client.do("EXPUNGE")
    await server.deliver(b"Message-ID: <9@x>\r\nReferences: <5@x>\r\n\r\n")
    await client.do("NOOP")
    # then
    assert (await client.do(by_numbers))[0] == "* THREAD (2 1 4)(3 5)"
    assert (await client.do(by_uids))[0] == "* THREAD (4 2 6)(5 7)"


async def test_in_reply_to_counts_where_there_are_no_references(server: Server) -> None:
    await server.deliver(b"Message-ID: <a@x>\r\nSubject: a\r\n\r\n")
    await server.deliver(
        b"Message-ID: <b@x>\r\nSubject: b\r\nIn-Reply-To: Yours of today <a@x> <c@x>\r\n\r\n"
    )
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        assert (await client.do("THREAD REFERENCES UTF-8 ALL"))[0] == "* THREAD (1 2)"


async def test_envelopes_with_literals_and_quotes_are_understood(server: Server) -> None:
    for subject in ("b" * 2000, 'a "quoted" \\ one', "a\x80"):
        await server.deliver(b"Subject: " + subject.encode("latin-1") + b"\r\nFrom: x@y.test\r\n\r\n")
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        assert (await client.do("SORT (SUBJECT FROM) UTF-8 ALL"))[0] == "* SORT 2 3 1"


async def test_what_came_within_a_second_stays_in_order_also_where_arrival_is_reversed(
    server: Server,
) -> None:
    # given messages without a date, of which the first three came within one second, in another order
    for fraction in (0.7, 0.2, 0.9, 1.1):
        await server.deliver(b"Subject: x\r\n\r\n", arrived=ARRIVED + fraction)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        # RFC 5256 §3: REVERSE does not affect the order by sequence number of what is equal
        for criterion in ("ARRIVAL", "DATE"):
            assert (await client.do(f"SORT ({criterion}) UTF-8 ALL"))[0] == "* SORT 1 2 3 4"
            assert (await client.do(f"SORT (REVERSE {criterion}) UTF-8 ALL"))[0] == "* SORT 4 1 2 3"
