"""`imap-million`: what it takes to open a mailbox of a million messages, in time and in memory.

The rows are written by the store's own functions before the server starts: sending a million letters takes
long, and is what `million` measures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench import peers, report
from bench.indexing import wait_until_quickly_opened
from bench.peers import RECIPIENT
from bench.processes import proportional_memory
from bench.wire import Imap
from posthouse.accounts import account as accounts
from posthouse.db.open import open_database
from posthouse.mail.envelope import AccountId
from posthouse.mail.header import HeaderIndex
from posthouse.mail.imapform import bodystructure, envelope
from posthouse.mail.mime import scan
from posthouse.store import content
from posthouse.store.deposit import Deposit, deposit

if TYPE_CHECKING:
    from posthouse.db import Tx

MESSAGES = 1_000_000
_AT_ONCE = 5000
_FIRST_ID = 1 << 40


def run(folder: Path, rounds: int) -> Iterator[str]:
    """SELECT of a million messages: first and again, and what it adds to the server's memory.

    Not before the pages are there from which a large mailbox is opened.
    """
    peers.install(folder, workers=1)
    asyncio.run(_fill(folder))
    first: list[float] = []
    again: list[float] = []
    with peers.serving(folder):
        wait_until_quickly_opened(folder / "data")
    for _ in range(rounds):
        with peers.serving(folder) as server:
            rest = proportional_memory(server.pid())
            for times in (first, again):
                with Imap(server.imap_port) as session:
                    session.login(RECIPIENT)
                    times.append(session.milliseconds("SELECT INBOX"))
            grown = proportional_memory(server.pid()) - rest
    yield report.figure(f"SELECT of {MESSAGES:,} messages, first of a worker", f"{median(first):.0f} ms")
    yield report.figure("the same again", f"{median(again):.1f} ms")
    yield report.figure("what that has added to its memory (PSS)", f"{grown / 1e6:.0f} MB")


async def _fill(folder: Path) -> None:
    database = open_database("sqlite:///posthouse.db", folder / "data")
    try:
        account = await database.read(lambda reader: accounts.find(reader, RECIPIENT))
        assert account is not None
        for first in range(0, MESSAGES, _AT_ONCE):
            await database.write([account.id], partial(_put, account=account.id, first=first), long=True)
    finally:
        await database.close()


def _put(tx: Tx, account: AccountId, first: int) -> None:
    for number in range(first, first + _AT_ONCE):
        head = b"From: a@example.net\r\nSubject: number %d\r\nMessage-ID: <%d@example.net>\r\n\r\n" % (
            number,
            number,
        )
        id, body = _FIRST_ID + number, b"short\r\n"
        size, made = len(head) + len(body), envelope(HeaderIndex(head))
        content.put(tx, id, head, body, size=size)
        structure = bodystructure(scan(head + body))
        message = Deposit(id, id, b"", 1.7e9 + number, size, made, structure, flags=number % 2)
        deposit(tx, account, "INBOX", [message], 0)
