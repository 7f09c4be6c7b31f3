"""COMPARATOR: searches, sorts and threads by the rule that the client wants (RFC 5255 §4)."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthouse.store.fulltext import open_fulltext
from posthouse.store.indexer import Indexer
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client

UTF_8 = "Content-Type: text/plain; charset=utf-8\r\n"
LETTERS = [
    ("Zebra", "Ann", "Über uns"),
    ("äpfel", "bob", "über uns"),
    ("Apfel", "ann", "UEBER"),
    ("apfel", "Bob", "ÜBER UNS"),
    ("Äpfel", "Zoe", ""),
]


@pytest.fixture(params=["indexed", "not indexed"])
async def client(
    request: pytest.FixtureRequest, server: Server, database_url: str, tmp_path: Path
) -> AsyncIterator[Client]:
    fulltext = open_fulltext(database_url, tmp_path)
    server.services = services = dataclasses.replace(server.services, fulltext=fulltext)
    for subject, sender, body in LETTERS:
        await server.deliver(f"From: {sender}@x.test\r\nSubject: {subject}\r\n{UTF_8}\r\n{body}\r\n".encode())
    # and one that lies in a blob
    large = "x" * 70 + "\r\n"
    await server.deliver(f"Subject: large\r\n{UTF_8}\r\n{large * 1000}Über uns\r\n".encode())
    if request.param == "indexed":
        await Indexer(services.database, fulltext, services.blobs, services.notifier, text_limit=0).sweep()
    async with Client(server) as one:
        await one.do("ENABLE UTF8=ACCEPT")
        await one.do("SELECT INBOX")
        yield one
    await fulltext.close()


SEARCHES = {
    'SEARCH SUBJECT "äpfel"': ("2 5", "2", "2"),
    'SEARCH SUBJECT "apfel"': ("3 4", "3 4", "4"),
    'SEARCH NOT SUBJECT "Äpfel"': ("1 3 4 6", "1 2 3 4 6", "1 2 3 4 6"),
    'SEARCH FROM "bob"': ("2 4", "2 4", "2"),
    'SEARCH BODY "Über UNS"': ("1 2 4 6", "1 4 6", ""),
    'SEARCH BODY "Über uns"': ("1 2 4 6", "1 4 6", "1 6"),
    'SEARCH OR TEXT "Zebra" TEXT "über"': ("1 2 4 6", "1 2", "1 2"),
    'SEARCH HEADER From ""': ("1 2 3 4 5", "1 2 3 4 5", "1 2 3 4 5"),
    'SEARCH TEXT "subject: APFEL"': ("3 4", "3 4", ""),
    "SORT (SUBJECT) UTF-8 1:5": ("3 4 2 5 1", "3 4 1 5 2", "3 1 4 5 2"),
    "SORT (FROM) UTF-8 1:5": ("1 3 2 4 5", "1 3 2 4 5", "1 4 5 3 2"),
    "THREAD ORDEREDSUBJECT UTF-8 1:5": ("(1)(2 5)(3 4)", "(1)(2)(3 4)(5)", "(1)(2)(3)(4)(5)"),
}
"""Command → what it finds by i;unicode-casemap, i;ascii-casemap and i;octet."""


@pytest.mark.parametrize(("place", "name"), list(enumerate(["default", "i;ascii-casemap", "i;octet"])))
async def test_strings_are_compared_by_the_active_comparator(client: Client, place: int, name: str) -> None:
    # given answers by the default comparator, some of which are kept
    for command in SEARCHES:
        await client.do(command)
    # when another one is wanted
    assert (await client.do(f"COMPARATOR {name}"))[-1] == "OK COMPARATOR completed"
    # then it is what counts
    found = {command: (await client.do(command))[0].split(" ", 2)[2:] for command in SEARCHES}
    assert found == {command: [said[place]] if said[place] else [] for command, said in SEARCHES.items()}
