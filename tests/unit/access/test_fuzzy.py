"""FUZZY finds what is alike, and says how well it fits (RFC 6203)."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthouse.store.fulltext import open_fulltext
from posthouse.store.indexer import Indexer
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client

SUBJECTS = ["Notes of the team meeting", "Meetings of teams", "team building", "meeting of the TEAM"]


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    for subject in SUBJECTS:
        await server.deliver(f"Subject: {subject}\r\n\r\nx\r\n".encode())
    async with Client(server) as one:
        await one.do("SELECT INBOX")
        yield one


async def test_words_are_found_in_any_order_and_with_other_endings(client: Client) -> None:
    assert (await client.do('SEARCH SUBJECT "team meetings"'))[0] == "* SEARCH"
    assert (await client.do('SEARCH FUZZY SUBJECT "team meetings"'))[0] == "* SEARCH 1 2 4"
    assert (await client.do('SEARCH FUZZY (SUBJECT "team meeting" NOT TEXT notes)'))[0] == "* SEARCH 2 4"
    assert (await client.do('SEARCH NOT FUZZY SUBJECT "team meeting"'))[0] == "* SEARCH 3"


async def test_what_fits_best_comes_first(client: Client) -> None:
    lines = await client.do('UID SEARCH RETURN (RELEVANCY ALL) FUZZY SUBJECT "meeting of the team"')
    assert lines[0] == f'* ESEARCH (TAG "{client.tag}") UID ALL 1,4 RELEVANCY (50 100)'
    lines = await client.do('UID SEARCH RETURN (RELEVANCY) FUZZY SUBJECT "team meeting"')
    assert lines[0] == f'* ESEARCH (TAG "{client.tag}") UID ALL 1:2,4 RELEVANCY (100 50 50)'
    lines = await client.do('SORT (RELEVANCY REVERSE ARRIVAL) UTF-8 FUZZY SUBJECT "meeting of"')
    assert lines[0].startswith("* SORT 4 ")
    lines = await client.do('ESEARCH IN (inboxes) RETURN (ALL RELEVANCY) FUZZY SUBJECT "meetings team"')
    assert lines[0].endswith("UID ALL 1:2,4 RELEVANCY (50 50 50)")


UTF_8 = "Content-Type: text/plain; charset=utf-8\r\n"
MAIL = [
    b"From: Dave <dave@example.org>\r\nSubject: Hello\r\n\r\nthe conference in Lisbon\r\n",
    b"From: Dana <dana@example.org>\r\nSubject: Help\r\n\r\nabout the Confereces\r\n",
    f"From: x@example.org\r\nSubject: 今日\r\n{UTF_8}\r\n北京大学的学生\r\n".encode(),
    f"Subject: Grüße\r\n{UTF_8}\r\nein Résumé\r\n".encode(),
    b"From: y@example.org\r\nSubject: other\r\n\r\nnothing of the kind, the dog\r\n",
]


@pytest.fixture(params=["indexed", "halfway", "not indexed"])
async def mistaken(
    request: pytest.FixtureRequest, server: Server, database_url: str, tmp_path: Path
) -> AsyncIterator[Client]:
    """A mailbox whose mail is in the full-text index, or only the first half, or none."""
    fulltext = open_fulltext(database_url, tmp_path)
    server.services = services = dataclasses.replace(server.services, fulltext=fulltext)
    indexer = Indexer(services.database, fulltext, services.blobs, services.notifier, text_limit=0)
    for number, mail in enumerate(MAIL):
        if number == 2 and request.param == "halfway":
            await indexer.sweep()
        await server.deliver(mail)
    if request.param == "indexed":
        await indexer.sweep()
    async with Client(server) as one:
        await one.do("ENABLE IMAP4rev2")
        await one.do("SELECT INBOX")
        yield one
    await fulltext.close()


MISTAKEN = (
    ("SUBJECT helo", "1:2"),  # RFC 6203 §4: hello, help
    ("SUBJECT hlelo", "1"),
    ("BODY confrence", "1:2"),
    ("TEXT conferenze", "1:2"),
    ("BODY confrnz", ""),
    ("FROM dvae", "1"),
    ("FROM dan", "2"),
    ("BODY dig", ""),  # a word of three letters has no mistakes
    ("BODY lizbon", "1"),
    ("(BODY lizbon NOT SUBJECT helo)", ""),
    ('BODY "北京大字"', "3"),
    ('BODY "北字"', ""),
    ('TEXT "résmé"', "4"),
    ('TEXT "gruesse"', ""),
    ('TEXT "grusse"', "4"),
    ('TEXT "lisbn conferense"', "1"),
)
"""Keys of searches, and what they find in `MAIL`."""


async def test_words_with_typing_errors_are_found(mistaken: Client) -> None:
    found = {key: (await mistaken.do(f"SEARCH FUZZY {key}"))[0].partition(" ALL ")[2] for key, _ in MISTAKEN}
    assert found == dict(MISTAKEN)


async def test_what_has_fewer_mistakes_fits_better(mistaken: Client) -> None:
    # given a body with the word, and one with a mistake in it
    exact = await mistaken.do("SEARCH RETURN (RELEVANCY ALL) FUZZY BODY conference")
    assert exact[0].endswith("ALL 1:2 RELEVANCY (100 25)")
    # when it is sought with one mistake, which makes two in the other
    wrong = await mistaken.do("SEARCH RETURN (RELEVANCY ALL) FUZZY BODY confxrence")
    assert wrong[0].endswith("ALL 1:2 RELEVANCY (25 10)")
    sort = await mistaken.do("SORT (RELEVANCY) UTF-8 FUZZY BODY confxrence")
    assert sort[0].startswith("* SORT 1 2")


async def test_of_very_many_words_only_some_are_looked_for_by_their_like(mistaken: Client) -> None:
    # given more words than anybody types, each of which would take a while
    for first, found in (("z", " ALL 1:2"), ("a", "")):
        others = " ".join(f"NOT BODY {first * 4}{chr(97 + n)}" for n in range(26))
        line = (await mistaken.do(f"SEARCH FUZZY (BODY confxrence {others})"))[0]
        # then those that come first by the alphabet may have mistakes
        assert line == f'* ESEARCH (TAG "{mistaken.tag}"){found}'
