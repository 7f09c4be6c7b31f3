"""Facts that are kept are those that would be made anew, whatever has happened to the messages."""

from __future__ import annotations

import zlib
from math import log2

import pytest

from posthouse.db import Tx
from posthouse.mail.envelope import AccountId
from posthouse.store import changes, factpages, facts, mailboxes, snapshot
from posthouse.store.facts import KEPT
from tests.databases import database_url, engine
from tests.unit.store.test_fulltext import BOB, CONTENTS, EVE, World, world

__all__ = ["database_url", "engine", "world"]

LETTERS = [
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@x.test>\r\nSubject: =?utf-8?b?UmU6IMOkcGZlbA==?=\r\n\r\nx\r\n",
    b"Subject: one\r\nSubject: two\r\nTo: a@x.test,\r\n\tb@x.test\r\nDate: 3 Nov 2026 23:59:00 -1200\r\n\r\n",
    b"\r\nno header at all\r\n",
    b"From:\r\nCc: \xff\xfe@x.test\r\nBcc: hidden@x.test\r\nDate: 5 Nov 1999 00:00 EST\r\n\r\n",
    b"From: group: a@x.test;\r\nDate: Tue, 99 Xyz 99999 99:99\r\nMessage-ID: none\r\n\r\n",
    b'From: a@b@c, "x\\"y" <<>>\r\nReferences: <a@x>\r\n <b@x>\r\nMessage-ID: <c@x> <d@x>\r\n\r\n',
    b"In-Reply-To: of today <c@x>\r\nSubject: [l] Fwd: Re: \0b\xff (fwd)\r\n\r\n",
    b"Subject: " + b"long " * 5000 + b"\r\nReferences: " + b"<r@x> " * 300 + b"\r\n\r\n",
    b"From: a@x.test\nSubject: bare\n line feeds\nDate: Mon, 2 Nov 2026 10:00:00 GMT\n\nx",
]


async def fill(world: World, times: int = 1, account: AccountId = BOB) -> None:
    for number in range(times * len(LETTERS)):
        await world.deliver(LETTERS[number % len(LETTERS)], account, prefix=b"X-Number: %d\r\n" % number)


async def pages(world: World, name: str = "INBOX", account: AccountId = BOB) -> list[factpages.Page]:
    mailbox = await world.mailbox(account, name)
    return await world.fulltext.database.read(lambda reader: factpages.pages(reader, account, mailbox))


async def check(world: World, name: str = "INBOX") -> int:
    """What is kept is what would be made; how many messages it is about."""
    mailbox = await world.mailbox(name=name)
    view = await world.database.read(lambda reader: snapshot.take(reader, BOB, mailbox))
    stored = await world.fulltext.database.read(lambda reader: factpages.load(reader, BOB, mailbox, KEPT))
    if stored is None:
        return 0
    made = await world.database.read(
        lambda reader: facts.make(reader, BOB, mailbox, KEPT, view.uids, view.sizes)
    )
    mask = factpages.aligned(stored.emails, view.emails)
    known = mask.count(1)
    for family, wanted in zip(KEPT, made, strict=True):
        kept = stored.facts[family.name]
        assert len(kept) == len(family.kinds)
        for column, afresh in zip(kept, wanted, strict=True):
            aligned = [value for value, there in zip(column, mask, strict=True) if there]
            assert aligned == list(afresh)[:known]
    return known


async def in_table(world: World, account: AccountId = BOB) -> list[tuple[int, bytes]]:
    rows = await world.fulltext.database.read(
        lambda reader: reader.all("SELECT mailbox, data FROM search_facts WHERE account = ?", (account,))
    )
    return [(mailbox, zlib.decompress(data)) for mailbox, data in rows]


async def test_what_is_kept_is_what_would_be_made(world: World) -> None:
    # given messages that came, one after the other or many at once
    await fill(world)
    await world.indexer.sweep()
    assert await check(world) == len(LETTERS)
    await fill(world, 3)
    # then those that came since are not known yet, and later they are
    assert await check(world) == len(LETTERS)
    await world.indexer.sweep()
    assert await check(world) == 4 * len(LETTERS)


async def test_facts_follow_copies_moves_and_expunges(world: World) -> None:
    await fill(world, 2)
    await world.indexer.sweep()
    inbox, terms = await world.mailbox(), changes.Terms(now=1.0, limit=0)

    def change(tx: Tx) -> None:
        changes.copy(tx, BOB, inbox, [(2, 5)], "Archive", terms)
        changes.copy(tx, BOB, inbox, [(1, 3)], "INBOX", terms)
        changes.move(tx, BOB, inbox, [(4, 4), (8, 9)], "Archive", terms, CONTENTS)

    await world.database.write([BOB], change)
    await world.expunge([1, 3, 18])
    # before the indexer comes, what is left of those it knows is right
    there = 2 * len(LETTERS) - 6
    assert await check(world) == there
    await world.indexer.sweep()
    assert await check(world) == there + 3
    assert await check(world, "Archive") == 7
    # and what has gone has left the pages
    assert sum(page.messages for page in await pages(world)) == there + 3


async def test_what_a_message_said_is_forgotten_with_it(world: World) -> None:
    await fill(world)
    await world.deliver(b"Subject: unforgettable\r\n\r\n")
    await world.indexer.sweep()
    assert any(b"unforgettable" in data for _, data in await in_table(world))
    await world.expunge([len(LETTERS) + 1])
    await world.indexer.sweep()
    assert not any(b"unforgettable" in data for _, data in await in_table(world))
    assert await check(world) == len(LETTERS)


async def test_many_small_additions_leave_few_pages(world: World) -> None:
    for _ in range(5):
        for data in LETTERS:
            await world.deliver(data)
            await world.indexer._index(BOB)
    assert await check(world) == 5 * len(LETTERS)
    there = await pages(world)
    assert len(there) <= log2(5 * len(LETTERS)) + 1
    assert [page.first for page in there] == [1, *(page.below for page in there[:-1])]


async def test_a_page_does_not_grow_without_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factpages, "PAGE", 10)
    for _ in range(4):
        await fill(world)
        await world.indexer.sweep()
    assert max(page.messages for page in await pages(world)) <= 10
    monkeypatch.setattr(factpages, "PAGE_OCTETS", 1)
    monkeypatch.setattr(factpages, "PAGE", 4000)
    before = len(await pages(world))
    await fill(world)
    await world.indexer.sweep()
    assert len(await pages(world)) == before + 1
    assert await check(world) == 5 * len(LETTERS)


async def test_who_is_late_writes_no_page(world: World) -> None:
    # given two that have made the same page
    await fill(world)
    mailbox = await world.mailbox()
    page = factpages.Page(1, 5, 0)
    empty = {"emails": facts.columns.columns("q", ())} | {
        family.name: facts.columns.columns(family.kinds, ()) for family in KEPT
    }

    def put(tx: Tx) -> bool:
        return world.fulltext.put_facts(tx, BOB, mailbox, page, empty)

    assert await world.fulltext.database.write([], put)
    assert not await world.fulltext.database.write([], put)
    # nor does one who shrinks a page that is another by now
    other = page._replace(below=4)
    assert not await world.fulltext.database.write(
        [], lambda tx: world.fulltext.shrink_facts(tx, BOB, mailbox, other, [])
    )


async def test_facts_go_with_mailbox_and_account(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factpages, "FORGET", 1)
    await fill(world)
    await fill(world, account=EVE)
    await world.deliver(LETTERS[0], mailbox="Archive")
    await world.indexer.sweep()
    archive = await world.mailbox(name="Archive")
    assert archive in {mailbox for mailbox, _ in await in_table(world)}

    await world.database.write([BOB], lambda tx: mailboxes.delete(tx, BOB, "Archive"))
    await world.indexer.sweep()
    assert archive not in {mailbox for mailbox, _ in await in_table(world)}

    await world.database.write([], lambda tx: tx.run("DELETE FROM account WHERE id = ?", (BOB,)))
    await world.indexer.sweep()
    assert await in_table(world) == []
    assert len(await in_table(world, EVE)) == 1 + len(KEPT)


async def test_an_older_state_of_the_mail_has_its_own_facts(world: World) -> None:
    # given facts of a later state than a backup that was restored
    await fill(world)
    await world.indexer.sweep()
    await world.expunge(range(1, len(LETTERS) + 1))

    def restore(tx: Tx) -> None:
        tx.run("UPDATE mailbox SET uidnext = 1 WHERE account = ?", (BOB,))
        tx.run("UPDATE account SET modseq = 1 WHERE id = ?", (BOB,))

    await world.database.write([BOB], restore)
    for data in reversed(LETTERS):
        await world.deliver(data)
    # then no message has another's facts, neither before the indexer comes, nor after it
    assert await check(world) == 0
    await world.indexer.sweep()
    assert await check(world) == len(LETTERS)


async def test_forgotten_facts_are_made_anew(world: World) -> None:
    await fill(world)
    await world.indexer.sweep()
    await world.indexer.forget(BOB)
    assert await in_table(world) == []
    await world.indexer.sweep()
    assert await check(world) == len(LETTERS)
