"""SEARCH for text finds the same whether messages are in the full-text index, partly, or not at all."""

from __future__ import annotations

import dataclasses
import imaplib
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthouse.db import DatabaseAway
from posthouse.observe import metrics
from posthouse.store.fulltext import open_fulltext
from posthouse.store.indexer import Indexer
from tests.unit.access.conftest import Server

HTML = (
    b"Subject: rich\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    b"<style>hidden</style><p>un<b>believ</b>able caf&eacute;<p>Stra&szlig;e\r\n"
)
JAPANESE = (
    b"Subject: =?iso-2022-jp?B?GyRCTDRBWxsoQg==?=\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n\r\n"
    + "本日の会\r\n議は中止です\r\n".encode("iso-2022-jp")
)
FORWARDED = (
    b"From: carol@example.net\r\nSubject: forwarded\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: application/pdf; name=report.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"bmVlZGxl\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: inner subject\r\n\r\nneedle in a letter\r\n"
    b"--b--\r\n"
)
LARGE = b"Subject: large\r\n\r\n" + b"hay\r\n" * 15_000 + b"the needle at the end\r\n"
PLAIN = b"From: Alice <alice@example.net>\r\nSubject: needle\r\n\r\nSee the\r\n  NEEDLE work\r\n"
LETTERS = (HTML, JAPANESE, FORWARDED, LARGE, PLAIN, b"Subject: empty\r\n\r\n", b"\r\nno header\r\n")

SEARCHES: tuple[tuple[str, list[int]], ...] = (
    ("BODY needle", [3, 4, 5]),
    ("TEXT needle", [3, 4, 5]),
    ("SUBJECT needle", [5]),
    ("HEADER Subject needle", [5]),
    ("NOT BODY needle", [1, 2, 6, 7]),
    ("OR BODY believ SUBJECT forwarded", [1, 3]),
    ("BODY unbelievable", [1]),
    ("BODY hidden", []),
    ("BODY STRASSE", [1]),
    ("TEXT café", [1]),
    ("BODY report.pdf", [3]),
    ('BODY "inner subject"', [3]),
    # RFC 9051 §6.4.4: TEXT looks at MIME header fields, BODY does not
    ("TEXT application/pdf", [3]),
    ("BODY application/pdf", []),
    ("TEXT message/rfc822", [3]),
    ("SUBJECT inner", []),
    ('BODY "the needle"', [4, 5]),
    ('BODY "the  needle work"', [5]),
    ("BODY 会議", [2]),
    ("BODY 会", [2]),
    ("SUBJECT 夢想", [2]),
    ("TEXT 夢想", [2]),
    ("BODY 夢想", []),
    ("TEXT é", [1]),
    ('BODY "e n"', [4, 5]),
    ("BODY zz", []),
    ('BODY ""', [1, 2, 3, 4, 5, 6, 7]),
    ('HEADER From ""', [3, 5]),
    ("TEXT alice SMALLER 1000", [5]),
    ("BODY needle SEEN", []),
    ("FROM example.net NOT SUBJECT needle", [3]),
    ("OR NOT TEXT needle TEXT work", [1, 2, 5, 6, 7]),
    ("BODY needle 1:4 OR TEXT report LARGER 60000", [3, 4]),
    ("HEADER Received here BODY needle", [3, 4, 5]),
    ("TEXT received:", [1, 2, 3, 4, 5, 6, 7]),
)


def _literal(text: str) -> str:
    return f"{{{len(text.encode())}+}}\r\n{text}"


def search(client: imaplib.IMAP4, what: str) -> list[int]:
    # A string beyond ASCII is a literal, which nobody waits for (RFC 7888).
    beyond = re.compile(r'"[^"]*[^ -~][^"]*"|\S*[^ -~]\S*')
    octets = beyond.sub(lambda word: _literal(word[0].strip('"')), f"CHARSET UTF-8 {what}").encode()
    status, data = client.search(None, octets)  # type: ignore[arg-type]
    assert status == "OK", data
    return [int(number) for number in data[0].split()]


@pytest.fixture
async def indexer(server: Server, tmp_path: Path, database_url: str) -> AsyncIterator[Indexer]:
    """The index of the server's mail is on from now on."""
    fulltext = open_fulltext(database_url, tmp_path)
    server.services = services = dataclasses.replace(server.services, fulltext=fulltext)
    yield Indexer(services.database, fulltext, services.blobs, services.notifier, text_limit=30_000)
    await fulltext.close()


async def all_searches(server: Server) -> dict[str, list[int]]:
    def session() -> dict[str, list[int]]:
        client = server.imap()
        client.select()
        found = {what: search(client, what) for what, _ in SEARCHES}
        client.logout()
        return found

    return await server.run(session)


@pytest.mark.parametrize("indexed", range(len(LETTERS) + 1))
async def test_the_same_is_found_however_far_the_index_has_come(
    server: Server, indexer: Indexer, indexed: int
) -> None:
    # given letters of which the first so many are indexed (the large one only in part)
    for letter in LETTERS[:indexed]:
        await server.deliver(letter)
    await indexer.sweep()
    for letter in LETTERS[indexed:]:
        await server.deliver(letter)

    assert await all_searches(server) == dict(SEARCHES)


async def test_without_an_index_messages_are_read(server: Server) -> None:
    for letter in LETTERS:
        await server.deliver(letter)
    assert await all_searches(server) == dict(SEARCHES)


async def test_an_index_that_does_not_answer_is_done_without(server: Server, indexer: Indexer) -> None:
    for letter in LETTERS:
        await server.deliver(letter)
    await indexer.sweep()
    fulltext = server.services.fulltext
    assert fulltext is not None

    async def away(*arguments: object) -> None:
        raise DatabaseAway("no disk")

    fulltext.look_up = away  # type: ignore[assignment, method-assign]
    assert await all_searches(server) == dict(SEARCHES)


async def test_what_is_indexed_is_not_read(server: Server, indexer: Indexer) -> None:
    for letter in (PLAIN, JAPANESE):
        await server.deliver(letter)
    await indexer.sweep()
    reading, index = (
        metrics._board.families["posthouse_search_messages_total"].first + place for place in (1, 0)
    )
    before = metrics._board.cells[reading], metrics._board.cells[index]

    def session() -> None:
        client = server.imap()
        client.select()
        assert search(client, "BODY needle") == [1]
        client.logout()

    await server.run(session)
    assert (metrics._board.cells[reading], metrics._board.cells[index]) == (before[0], before[1] + 2)


async def test_random_searches_agree_with_and_without_the_index(server: Server, indexer: Indexer) -> None:
    chance = random.Random(9)
    words = ["alpha", "beta", "gamma", "中文", "会议", "Ärger", "x", "to be"]
    for _ in range(40):
        text = " ".join(chance.choices(words, k=chance.randint(0, 5)))
        subject = "".join(chance.choices(words, k=2))
        await server.deliver(
            f"Subject: {subject}\r\nFrom: {chance.choice(words[:3])}@x\r\n\r\n{text}".encode()
        )
    keys = []
    for _ in range(60):
        one, other = (
            f'{chance.choice(["BODY", "TEXT", "SUBJECT", "FROM", "NOT BODY"])} "{chance.choice(words)}"'
            for _ in range(2)
        )
        keys.append(chance.choice([f"{one} {other}", f"OR {one} {other}", f"NOT ({one} {other})"]))

    def session() -> list[list[int]]:
        client = server.imap()
        client.select()
        found = [search(client, key) for key in keys]
        client.logout()
        return found

    read = await server.run(session)
    assert len({tuple(found) for found in read}) > 10
    await indexer.sweep()
    assert await server.run(session) == read
