"""A large mailbox opened from its pages is the mailbox as it is, whatever has happened since."""

from __future__ import annotations

import random

import pytest

from posthouse.db import Tx
from posthouse.store import changes, mailboxes, removal, snapshot, snapshotpages
from posthouse.store.snapshot import Snapshot
from tests.databases import database_url, engine
from tests.unit.store.test_fulltext import BOB, CONTENTS, World, world

__all__ = ["database_url", "engine", "world"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mailboxes that are large with twenty messages."""
    monkeypatch.setattr(snapshotpages, "LARGE", 20)
    monkeypatch.setattr(snapshotpages, "PAGE", 16)
    monkeypatch.setattr(snapshotpages, "WORTH", 3)
    monkeypatch.setattr(snapshot, "FEW", 5)


async def keep(world: World, mailbox: int) -> list[snapshotpages.Page]:
    return [page async for page in snapshotpages.keep(world.database, BOB, mailbox)]


def columns(view: Snapshot) -> tuple[object, ...]:
    listed = view.uids, view.emails, view.sizes, view.flags, view.keywords, view.modseqs
    return view.mailbox, view.recent, *map(list, listed)


async def check(world: World, mailbox: int) -> int:
    """It is the same by the pages and by the rows; how many messages the pages held."""
    by_pages = await world.database.read(lambda reader: snapshot.take(reader, BOB, mailbox))
    with pytest.MonkeyPatch.context() as by_rows:
        by_rows.setattr(snapshotpages, "LARGE", 10**9)
        rows = await world.database.read(lambda reader: snapshot.take(reader, BOB, mailbox))
    assert columns(by_pages) == columns(rows)
    at_once = await world.database.read(lambda reader: snapshot.take_at_once(reader, BOB, mailbox))
    assert at_once is None or columns(at_once) == columns(rows)
    loaded = await world.database.read(lambda reader: snapshotpages.load(reader, BOB, mailbox))
    return 0 if loaded is None else len(loaded.uids)


async def test_it_is_the_mailbox_whatever_happens(world: World) -> None:
    chance = random.Random(5)
    mailbox, terms = await world.mailbox(), changes.Terms(now=1.0, limit=0)
    for _ in range(30):
        await world.deliver(b"\r\nx")

    def uids() -> list[tuple[int, int]]:
        first = chance.randrange(1, 60)
        return [(first, first + chance.choice([0, 0, 0, 5, 40]))]

    def change(tx: Tx) -> None:
        what = chance.choice(["flag", "word", "clear", "copy", "move", "new", "new"])
        if what == "flag":
            changes.store(tx, BOB, mailbox, uids(), changes.Action.ADD, 1)
        elif what == "word":
            words = [chance.choice(["$One", "two", "three"])]
            changes.store(tx, BOB, mailbox, uids(), changes.Action.ADD, 8, words)
        elif what == "clear":
            changes.store(tx, BOB, mailbox, uids(), changes.Action.REMOVE, 9, ["two"])
        elif what == "copy":
            changes.copy(tx, BOB, mailbox, [(1, 100)], "INBOX", terms)
        elif what == "move":
            changes.move(tx, BOB, mailbox, uids(), "Archive", terms, CONTENTS)

    most = 0
    for _ in range(80):
        if chance.random() < 0.3:
            await world.expunge(range(*[number + 1 for number in sorted(chance.sample(range(90), 2))]))
        for _ in range(chance.randrange(4)):
            await world.deliver(b"\r\ny")
        await world.database.write([BOB], change)
        if chance.random() < 0.4:
            await keep(world, mailbox)
        most = max(most, await check(world, mailbox))
    assert most > 20


async def test_a_small_mailbox_has_no_pages(world: World) -> None:
    mailbox = await world.mailbox()
    for _ in range(40):
        await world.deliver(b"\r\nx")
    await world.expunge(range(1, 30))
    assert await keep(world, mailbox) == []
    assert await check(world, mailbox) == 0


async def test_a_page_is_made_again_only_where_much_has_changed(world: World) -> None:
    # given three pages, of which all are as new as the mailbox
    mailbox = await world.mailbox()
    for _ in range(40):
        await world.deliver(b"\r\nx")
    assert [page.messages for page in await keep(world, mailbox)] == [16, 16, 8]
    assert await keep(world, mailbox) == []

    def flag(tx: Tx, first: int, last: int) -> None:
        changes.store(tx, BOB, mailbox, [(first, last)], changes.Action.ADD, 1)

    # when little has changed in one, nothing is made; when much has, that one is
    await world.database.write([BOB], lambda tx: flag(tx, 3, 4))
    assert await keep(world, mailbox) == []
    await world.database.write([BOB], lambda tx: flag(tx, 18, 24))
    (page,) = await keep(world, mailbox)
    assert page.first == 17
    # and what came since goes into the last, which is small
    for _ in range(3):
        await world.deliver(b"\r\nx")
    assert [(page.first, page.messages) for page in await keep(world, mailbox)] == [(33, 11)]
    assert await check(world, mailbox) == 43


async def test_pages_too_old_for_what_is_remembered_are_not_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox = await world.mailbox()
    for _ in range(40):
        await world.deliver(b"\r\nx")
    await keep(world, mailbox)
    # given that some of the messages expunged since have been forgotten
    monkeypatch.setattr(removal, "TOMBSTONES", 1)
    monkeypatch.setattr(removal, "_SELDOM", 1)
    for uid in (1, 17, 19, 40):
        await world.expunge([uid])
    await check(world, mailbox)
    # then they are made again, though little has changed
    assert {page.first for page in await keep(world, mailbox)} == {1, 17, 33}
    assert await check(world, mailbox) == 36


async def test_who_is_late_puts_no_page(world: World) -> None:
    mailbox = await world.mailbox()
    for _ in range(40):
        await world.deliver(b"\r\nx")
    one = snapshotpages.keep(world.database, BOB, mailbox)
    first = await anext(one)
    others = await keep(world, mailbox)
    assert [first, *others] == [first, *[page async for page in one], *others]
    assert await check(world, mailbox) == 40


async def test_pages_go_with_the_mailbox(world: World) -> None:
    for _ in range(40):
        await world.deliver(b"\r\nx", mailbox="Archive")
    mailbox = await world.mailbox(name="Archive")
    await keep(world, mailbox)
    assert await check(world, mailbox) == 40
    await world.database.write([BOB], lambda tx: mailboxes.delete(tx, BOB, "Archive"))
    await world.database.write([BOB], lambda tx: removal.sweep(tx, CONTENTS, BOB))
    for table in ("snapshot_page", "snapshot_data"):
        rows = await world.database.read(lambda reader, table=table: reader.all(f"SELECT 1 FROM {table}"))
        assert rows == []
    assert await keep(world, mailbox) == []


async def test_the_indexer_keeps_them(world: World) -> None:
    for _ in range(40):
        await world.deliver(b"\r\nx")
    await world.indexer.sweep()
    assert await check(world, await world.mailbox()) == 40


async def test_an_inbox_renamed_leaves_its_pages_behind(world: World) -> None:
    for _ in range(40):
        await world.deliver(b"\r\nx")
    mailbox = await world.mailbox()
    await keep(world, mailbox)
    await world.database.write([BOB], lambda tx: mailboxes.rename(tx, BOB, "INBOX", "Old", 1.0))
    await check(world, mailbox)
    old = await world.mailbox(name="Old")
    await keep(world, old)
    assert await check(world, old) == 40


async def test_pages_whose_columns_are_not_pressed_are_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given pages of which two were made when nothing was gained by pressing, and the last when it was
    mailbox = await world.mailbox()
    for _ in range(40):
        await world.deliver(b"\r\nx")
    with monkeypatch.context() as useless:
        useless.setattr(snapshotpages.columns, "press", lambda some: b"x" * 10_000)
        pages = snapshotpages.keep(world.database, BOB, mailbox)
        sizes = [(await anext(pages)).messages for _ in range(2)]
    sizes += [page.messages async for page in pages]
    assert sizes == [16, 16, 8]
    # then
    kept = await world.database.read(
        lambda reader: reader.all("SELECT data FROM snapshot_data ORDER BY mailbox, first")
    )
    assert [len(data) < messages * 31 for (data,), messages in zip(kept, sizes, strict=True)] == [
        False,
        False,
        True,
    ]
    assert await check(world, mailbox) == 40


async def test_what_is_read_in_a_moment_is_read_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshotpages, "PAGE", 40)

    async def is_read_at_once() -> bool:
        await check(world, mailbox)
        found = await world.database.read(lambda reader: snapshot.take_at_once(reader, BOB, mailbox))
        return found is not None

    # given few messages
    mailbox = await world.mailbox()
    for _ in range(4):
        await world.deliver(b"\r\nx")
    assert await is_read_at_once()
    # more than a few
    await world.deliver(b"\r\nx")
    assert not await is_read_at_once()
    # many, of which there is no page, and then one
    for _ in range(30):
        await world.deliver(b"\r\nx")
    assert not await is_read_at_once()
    assert len(await keep(world, mailbox)) == 1
    assert await is_read_at_once()
    # something has changed since
    await world.database.write(
        [BOB], lambda tx: changes.store(tx, BOB, mailbox, [(1, 1)], changes.Action.ADD, 1)
    )
    assert not await is_read_at_once()
    # two pages
    for _ in range(20):
        await world.deliver(b"\r\nx")
    await keep(world, mailbox)
    assert not await is_read_at_once()
