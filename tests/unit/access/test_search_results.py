"""SEARCH RETURN: what is found comes back as asked, or stays on the server as `$` (RFC 4731, RFC 5182)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.access.imap import results
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """INBOX with UIDs 2, 3, 4, 6, of which 3 and 4 are flagged."""
    for _ in range(6):
        await server.deliver(LETTER)
    async with Client(server) as one:
        await one.do("SELECT INBOX")
        await one.do("STORE 1,5 +FLAGS.SILENT (\\Deleted)")
        await one.do("EXPUNGE")
        await one.do("STORE 2,3 +FLAGS.SILENT (\\Flagged)")
        yield one


CASES = [
    ("SEARCH RETURN () FLAGGED", '(TAG "{tag}") ALL 2:3'),
    ("SEARCH RETURN (ALL) ALL", '(TAG "{tag}") ALL 1:4'),
    ("UID SEARCH RETURN (ALL) ALL", '(TAG "{tag}") UID ALL 2:4,6'),
    ("UID SEARCH RETURN (MIN MAX COUNT) ALL", '(TAG "{tag}") UID MIN 2 MAX 6 COUNT 4'),
    ("SEARCH RETURN (MIN MAX) FLAGGED", '(TAG "{tag}") MIN 2 MAX 3'),
    # RFC 4731 §3.1: where nothing is found there is only the count
    ("SEARCH RETURN (MIN MAX ALL COUNT) DRAFT", '(TAG "{tag}") COUNT 0'),
    ("UID SEARCH RETURN (ALL) DRAFT", '(TAG "{tag}") UID'),
    # RFC 9394 §3.1: a page, counted from the first or from the last, whichever way it is written
    ("UID SEARCH RETURN (PARTIAL 2:3) ALL", '(TAG "{tag}") UID PARTIAL (2:3 3:4)'),
    ("UID SEARCH RETURN (PARTIAL 3:2 COUNT MAX) ALL", '(TAG "{tag}") UID MAX 6 COUNT 4 PARTIAL (3:2 3:4)'),
    ("SEARCH RETURN (PARTIAL -1:-3) ALL", '(TAG "{tag}") PARTIAL (-1:-3 2:4)'),
    ("SEARCH RETURN (PARTIAL -2:-100) ALL", '(TAG "{tag}") PARTIAL (-2:-100 1:3)'),
    ("SEARCH RETURN (PARTIAL 5:9) ALL", '(TAG "{tag}") PARTIAL (5:9 NIL)'),
    ("SEARCH RETURN (PARTIAL -5:-9) ALL", '(TAG "{tag}") PARTIAL (-5:-9 NIL)'),
]


@pytest.mark.parametrize(("command", "wanted"), CASES, ids=[command for command, _ in CASES])
async def test_esearch(client: Client, command: str, wanted: str) -> None:
    lines = await client.do(command)
    assert lines == ["* ESEARCH " + wanted.format(tag=client.tag), "OK SEARCH completed"]


SAVES = [
    ("(SAVE)", "FLAGGED", "3:4"),
    ("(SAVE ALL)", "ALL", "2:4,6"),
    ("(SAVE MIN)", "ALL", "2"),
    ("(SAVE MAX)", "ALL", "6"),
    ("(SAVE MIN MAX)", "ALL", "2,6"),
    ("(SAVE MIN MAX)", "3", "4"),
    ("(SAVE MIN COUNT)", "ALL", "2:4,6"),
    ("(SAVE MIN MAX)", "DRAFT", ""),
    # RFC 9394 §3.2
    ("(SAVE PARTIAL 2:3)", "ALL", "3:4"),
    ("(SAVE MIN PARTIAL -1:-1)", "ALL", "2,6"),
    ("(SAVE PARTIAL 2:3 COUNT)", "ALL", "2:4,6"),
]


@pytest.mark.parametrize(("returns", "key", "wanted"), SAVES)
async def test_the_dollar_stands_for_what_was_saved(
    client: Client, returns: str, key: str, wanted: str
) -> None:
    said = (await client.do(f"SEARCH RETURN {returns} {key}"))[:-1]
    assert bool(said) is (returns != "(SAVE)")
    (line, _) = await client.do("UID SEARCH RETURN (ALL) $")
    assert line == f'* ESEARCH (TAG "{client.tag}") UID' + (f" ALL {wanted}" if wanted else "")


async def test_the_dollar_works_wherever_messages_are_named(client: Client) -> None:
    await client.do("SEARCH RETURN (SAVE) FLAGGED")
    assert (await client.do("FETCH $ (UID)"))[:-1] == ["* 2 FETCH (UID 3)", "* 3 FETCH (UID 4)"]
    assert (await client.do("UID FETCH $ (UID)"))[:-1] == ["* 2 FETCH (UID 3)", "* 3 FETCH (UID 4)"]
    assert (await client.do("UID SEARCH UID $ NOT 2"))[0] == "* SEARCH 4"
    # beside numbers as well (RFC 9051 §9, sequence-set), in any of the commands
    assert (await client.do("FETCH 1:2,$ (UID)"))[:-1] == [
        "* 1 FETCH (UID 2)", "* 2 FETCH (UID 3)", "* 3 FETCH (UID 4)"
    ]  # fmt: skip
    assert (await client.do("UID FETCH 99,$ (UID)"))[:-1] == ["* 2 FETCH (UID 3)", "* 3 FETCH (UID 4)"]
    assert (await client.do("SEARCH 1,$"))[0] == "* SEARCH 1 2 3"
    assert (await client.do("UID SEARCH UID 2,4,$"))[0] == "* SEARCH 2 3 4"
    assert (await client.do("FETCH 99,$ (UID)"))[-1].startswith("BAD")
    assert "COPYUID" in (await client.do("COPY $ Trash"))[-1]
    # RFC 5182 §2.1: what is expunged leaves `$`, whose other messages keep
    await client.do("STORE 2 +FLAGS.SILENT (\\Deleted)")
    await client.do("UID EXPUNGE $")
    assert (await client.do("FETCH $ (UID)"))[:-1] == ["* 2 FETCH (UID 4)"]
    # and another mailbox begins with nothing saved
    await client.do("SELECT Trash")
    assert await client.do("FETCH $ (UID)") == ["OK FETCH completed"]


async def test_a_search_that_fails_saves_nothing_and_one_that_is_wrong_leaves_what_was_saved(
    client: Client,
) -> None:
    await client.do("SEARCH RETURN (SAVE) FLAGGED")
    assert (await client.do("SEARCH RETURN (SAVE) FROM"))[-1].startswith("BAD")
    assert (await client.do("SEARCH $"))[0] == "* SEARCH 2 3"
    # a search may narrow what an earlier one has saved
    await client.do("SEARCH RETURN (SAVE) $ NOT 2")
    assert (await client.do("SEARCH $"))[0] == "* SEARCH 3"


async def test_a_uid_search_by_number_says_no_expunge(server: Server, client: Client) -> None:
    async with Client(server) as other:
        await other.do("SELECT INBOX")
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
    assert (await client.do("UID SEARCH NOT (OR 2 3)"))[:-1] == ["* SEARCH 2 6"]
    assert (await client.do("UID SEARCH ALL"))[:-1] == ["* SEARCH 2 3 4 6", "* 1 EXPUNGE"]


async def test_a_search_by_age(server: Server) -> None:
    async with Client(server) as client:
        # given a message of an hour ago and one of now
        stamp = time.strftime("%d-%b-%Y %H:%M:%S +0000", time.gmtime(time.time() - 3600))
        for date in (f'"{stamp}" ', ""):
            await client.do(f"APPEND INBOX {date}{{{len(LETTER)}+}}\r\n{LETTER.decode()}")
        await client.do("SELECT INBOX")
        # RFC 5032 §3
        assert (await client.do("SEARCH OLDER 3000"))[0] == "* SEARCH 1"
        assert (await client.do("SEARCH YOUNGER 3000"))[0] == "* SEARCH 2"
        assert (await client.do("SEARCH YOUNGER 4000"))[0] == "* SEARCH 1 2"
        assert (await client.do("SEARCH OLDER 4000"))[0] == "* SEARCH"
        assert (await client.do("SEARCH OR OLDER 3000 2 NOT YOUNGER 3000"))[0] == "* SEARCH 1"


async def test_a_page_of_messages_is_fetched(client: Client) -> None:
    # RFC 9394 §3.3: places among the messages that are there
    assert await client.do("UID FETCH 1:* (UID) (PARTIAL 2:3)") == [
        "* 2 FETCH (UID 3)",
        "* 3 FETCH (UID 4)",
        "OK FETCH completed",
    ]
    lines = await client.do("UID FETCH 2,6,10:20 (UID) (PARTIAL -1:-1)")
    assert lines == ["* 4 FETCH (UID 6)", "OK FETCH completed"]
    first = (await client.do("STATUS INBOX (HIGHESTMODSEQ)"))[0].split()[-1].rstrip(")")
    await client.do("UID STORE 3,6 +FLAGS.SILENT (\\Seen)")
    # RFC 9394 §3.4: and of that part, those that have changed
    lines = await client.do(f"UID FETCH 1:* (UID) (PARTIAL -1:-2 CHANGEDSINCE {first})")
    assert [line.split()[1] for line in lines[:-1]] == ["4"]
    lines = await client.do(f"UID FETCH 1:* (UID) (CHANGEDSINCE {first} PARTIAL 1:1)")
    assert [line.split()[1] for line in lines[:-1]] == []
    assert await client.do("UID FETCH 1:* (UID) (PARTIAL 9:12)") == ["OK FETCH completed"]


async def test_a_search_beyond_the_last_message_finds_what_there_is(client: Client) -> None:
    # RFC 7377 §2: a window that moves along the mailbox may pass its end
    assert (await client.do("SEARCH 3:9"))[0] == "* SEARCH 3 4"
    assert (await client.do("SEARCH 101:200"))[0] == "* SEARCH"
    assert (await client.do("UID SEARCH NOT 2:200"))[0] == "* SEARCH 2"
    assert (await client.do("FETCH 101 UID"))[-1].startswith("BAD ")


async def test_a_search_that_fails_saves_nothing(client: Client) -> None:
    await client.do("SEARCH RETURN (SAVE) ALL")
    assert (await client.do("SEARCH RETURN (SAVE) CHARSET KLINGON ALL"))[-1].startswith("NO [BADCHARSET ")
    assert await client.do("FETCH $ UID") == ["OK FETCH completed"]
    # without SAVE nothing changes
    await client.do("SEARCH RETURN (SAVE) ALL")
    assert (await client.do("SEARCH CHARSET KLINGON ALL"))[-1].startswith("NO [BADCHARSET ")
    assert len(await client.do("FETCH $ UID")) == 5


@given(st.integers(1, 120_000), st.integers(0, 1_300))
def test_numbers_that_follow_each_other_are_listed_as_all_are(first: int, count: int) -> None:
    numbers = range(first, first + count)
    assert results.listed(numbers) == results.listed(list(numbers))
    assert results.listed(numbers).split() == [str(number).encode() for number in numbers]


@pytest.mark.parametrize("edge", [1, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 99_999, 100_000])
def test_numbers_are_listed_right_where_they_grow_longer(edge: int) -> None:
    for numbers in (range(edge, edge + 2), range(max(1, edge - 2), edge), range(edge, edge)):
        assert results.listed(numbers).split() == [str(number).encode() for number in numbers]


async def test_a_search_that_finds_all_between_two_gaps_names_each(client: Client) -> None:
    assert (await client.do("SEARCH ALL"))[0] == "* SEARCH 1 2 3 4"
    assert (await client.do("UID SEARCH 1:3"))[0] == "* SEARCH 2 3 4"
    assert (await client.do("UID SEARCH 2:4"))[0] == "* SEARCH 3 4 6"
    assert (await client.do("SEARCH FLAGGED"))[0] == "* SEARCH 2 3"
    assert (await client.do("SEARCH DRAFT"))[0] == "* SEARCH"
