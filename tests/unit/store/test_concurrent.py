"""Two workers on one database: what each is told is what is there in the end."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path

from posthouse.accounts.usage import usage
from posthouse.db import Tx, open_database
from posthouse.mail.envelope import AccountId
from posthouse.store import changes, content, mailboxes, snapshot
from posthouse.store.deposit import Deposit, Deposited, DepositResult, OverQuota, deposit

ALICE = AccountId(1)
BOB = AccountId(2)
LETTERS = 60
SIZE = 10
QUOTA = 450


def _account(tx: Tx) -> mailboxes.Mailbox:
    tx.run(
        "INSERT INTO account (id, address, quota, created) VALUES (1, 'alice@example.org', ?, 0)", (QUOTA,)
    )
    mailboxes.create_defaults(tx, ALICE, 1e6)
    inbox = mailboxes.find(tx, ALICE, mailboxes.INBOX)
    assert inbox is not None
    return inbox


def _letter(tx: Tx, id: int) -> DepositResult:
    result = deposit(tx, ALICE, mailboxes.INBOX, [Deposit(id, id, b"", 1.0, SIZE, b"", b"")], 0)
    if isinstance(result, Deposited):
        content.put(tx, id, b"\r\n", b"", size=2)
    return result


async def test_two_workers_fill_one_mailbox_to_its_quota(tmp_path: Path, database_url: str) -> None:
    # given two connections to one database, and a session that watches by deltas
    first = open_database(database_url, tmp_path)
    second = open_database(database_url, tmp_path)
    inbox = await first.write([], _account)
    contents = content.Contents(lambda tx, ids: (), lambda tx, names: None)
    view = await second.read(partial(snapshot.take, account=ALICE, mailbox=inbox.id))
    # when both deposit, while one expunges what came first
    writes = [(first, second)[id % 2].write([ALICE], partial(_letter, id=id)) for id in range(1, LETTERS + 1)]
    gone = await second.write(
        [ALICE],
        lambda tx: changes.expunge(tx, contents, ALICE, inbox.id, [(1, 5)], deleted_only=False),
    )
    results = await asyncio.gather(*writes)
    # then
    stored = [result for result in results if isinstance(result, Deposited)]
    assert all(isinstance(result, Deposited | OverQuota) for result in results)
    assert sorted(result.uid for result in stored) == list(range(1, len(stored) + 1))
    by_uid = sorted(stored, key=lambda result: result.uid)
    assert [result.modseq for result in by_uid] == sorted({result.modseq for result in stored})
    present = len(stored) - len(gone.uids)
    assert (await first.read(partial(usage, account=ALICE, limit=0))).used == present * SIZE <= QUOTA
    assert QUOTA // SIZE <= len(stored) <= QUOTA // SIZE + len(gone.uids)
    # and the session sees the same as a new one
    view.apply(await second.read(partial(snapshot.delta, account=ALICE, since=view.mailbox)))
    fresh = await first.read(partial(snapshot.take, account=ALICE, mailbox=inbox.id))
    assert list(view.uids) == list(fresh.uids)
    assert len(fresh) == present
    await first.close()
    await second.close()


async def test_of_two_who_expunge_the_last_copies_at_once_one_releases_the_content(
    tmp_path: Path, database_url: str
) -> None:
    # given one letter in the mailboxes of two accounts, and two hosts
    first = open_database(database_url, tmp_path)
    second = open_database(database_url, tmp_path)
    boxes = [(account, await first.write([], partial(_box, account=account))) for account in (ALICE, BOB)]
    await first.write([ALICE, BOB], partial(_copies, boxes=boxes))
    contents = content.Contents(lambda tx, ids: (), lambda tx, names: None)
    done = threading.Event()

    def slowly(tx: Tx) -> None:
        changes.expunge(tx, contents, ALICE, boxes[0][1], [(1, 1)], deleted_only=False)
        if not first.immediate:
            done.wait(0.3)  # the other is given the time to overtake

    def quickly(tx: Tx) -> None:
        changes.expunge(tx, contents, BOB, boxes[1][1], [(1, 1)], deleted_only=False)

    # when both expunge it at the same time
    slow = first.write([ALICE], slowly)
    quick = second.write([BOB], quickly)
    quick.add_done_callback(lambda future: done.set())
    await asyncio.gather(slow, quick)
    # then nothing is left of it
    tables = ("placement", "email", "content", "content_body")
    count = [
        await first.read(lambda reader, name=name: reader.one(f"SELECT count(*) FROM {name}"))
        for name in tables
    ]
    assert count == [(0,)] * 4
    await first.close()
    await second.close()


def _box(tx: Tx, account: AccountId) -> int:
    tx.run("INSERT INTO account (id, address, created) VALUES (?, ?, 0)", (account, f"{account}@example.org"))
    mailboxes.create_defaults(tx, account, 1e6)
    inbox = mailboxes.find(tx, account, mailboxes.INBOX)
    assert inbox is not None
    return inbox.id


def _copies(tx: Tx, boxes: list[tuple[AccountId, int]]) -> None:
    content.put(tx, 7, b"\r\n", b"", size=2)
    for account, _ in boxes:
        deposit(tx, account, mailboxes.INBOX, [Deposit(7, 7, b"", 1.0, SIZE, b"", b"")], 0)
