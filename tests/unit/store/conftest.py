"""A store on either database, with accounts and letters to put into it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from posthouse.db import Tx
from posthouse.db.blobs import discard
from posthouse.mail.envelope import AccountId
from posthouse.store import content, mailboxes
from posthouse.store.deposit import Deposit, DepositResult, Missing, deposit
from tests.databases import Scratch, database_url, engine, scratch

__all__ = ["database_url", "engine"]


@dataclass
class Store:
    """One database. Every statement is durable at once, as far as a test can see."""

    tx: Scratch
    queued: set[int] = field(default_factory=set)
    """Contents that the queue still needs."""
    ids: int = 0
    now: float = 5_000_000.0

    @property
    def contents(self) -> content.Contents:
        def in_queue(tx: Tx, ids: Sequence[int]) -> Collection[int]:
            return self.queued.intersection(ids)

        def remember(tx: Tx, names: Sequence[str]) -> None:
            for name in names:
                discard(tx, name, self.now)

        return content.Contents(in_queue, remember)

    def account(self, number: int = 1, *, quota: int | None = None) -> AccountId:
        self.tx.run(
            "INSERT INTO account (id, address, quota, created) VALUES (?, ?, ?, 0)",
            (number, f"user{number}@example.org", quota),
        )
        mailboxes.create_defaults(self.tx, AccountId(number), 1_000_000.0)
        return AccountId(number)

    def new_id(self) -> int:
        self.ids += 1
        return self.ids

    def content(self, head: bytes = b"Subject: x\r\n\r\n", body: bytes = b"text\r\n") -> int:
        id = self.new_id()
        content.put(self.tx, id, head, body, size=len(head) + len(body))
        return id

    def deposit(
        self,
        account: AccountId,
        mailbox: str = mailboxes.INBOX,
        *,
        content_id: int | None = None,
        size: int = 100,
        limit: int = 0,
        missing: Missing = Missing.TO_INBOX,
    ) -> DepositResult:
        if content_id is None:
            content_id = self.content()
        copy = Deposit(
            self.new_id(), content_id, b"Received: here\r\n", 1234.5, size, b"(envelope)", b"(structure)"
        )
        return deposit(self.tx, account, mailbox, [copy], limit, missing)

    def number(self, sql: str, *params: object) -> int:
        row = self.tx.one(sql, params)
        assert row is not None
        return int(row[0])

    def used(self, account: AccountId) -> int:
        return self.number("SELECT used FROM account WHERE id = ?", account)

    def mailbox(self, account: AccountId, name: str = mailboxes.INBOX) -> mailboxes.Mailbox:
        found = mailboxes.find(self.tx, account, name)
        assert found is not None
        return found


@pytest.fixture
def store(engine: str) -> Iterator[Store]:
    store = Store(scratch(engine))
    yield store
    store.tx.close()


@pytest.fixture(scope="session")
def new_store(engine: str) -> Callable[[], Store]:
    """For tests that run many examples, each on a store of its own."""
    return lambda: Store(scratch(engine))
