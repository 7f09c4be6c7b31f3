"""The full-text index finds what is there, says what it does not know, and follows what happens to mail."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import apsw
import pytest

from posthouse.accounts import usage
from posthouse.db import Database, Tx, open_database
from posthouse.db.blobs import FileBlobs
from posthouse.db.open import database_path
from posthouse.mail.casefold import fold
from posthouse.mail.content import INLINE_LIMIT, end_of_head
from posthouse.mail.envelope import AccountId
from posthouse.mail.header import HeaderIndex
from posthouse.mail.imapform import envelope
from posthouse.store import changes, content, mailboxes, snapshot, threads
from posthouse.store.deposit import Deposit, Deposited, deposit
from posthouse.store.fulltext import Found, FullText, Hits, Sought, Where, open_fulltext
from posthouse.store.indexer import Indexer
from posthouse.store.notify import Notifier
from posthouse.store.uids import ranges_of

BOB, EVE = AccountId(1), AccountId(2)
CONTENTS = content.Contents(lambda tx, ids: (), lambda tx, names: None)


@dataclass
class World:
    """Two accounts, and the index of their mail."""

    url: str
    directory: Path
    database: Database
    fulltext: FullText
    blobs: FileBlobs
    notifier: Notifier
    text_limit: int = 0
    ids: int = 0

    @property
    def indexer(self) -> Indexer:
        return Indexer(self.database, self.fulltext, self.blobs, self.notifier, text_limit=self.text_limit)

    async def deliver(
        self, data: bytes, account: AccountId = BOB, mailbox: str = "INBOX", prefix: bytes = b""
    ) -> int:
        """The email's id."""
        self.ids += 1
        id, head = self.ids, end_of_head(data)
        blob = None
        if len(data) > INLINE_LIMIT:
            path = self.blobs.spool_directory / f"letter-{id}"
            path.write_bytes(data)
            blob = await self.blobs.store(path)

        def put(tx: Tx) -> None:
            body = None if blob else data[head:]
            content.put(tx, id, data[:head], body, size=len(data), blob=blob)
            size, made = len(prefix) + len(data), envelope(HeaderIndex(data[:head]))
            done = deposit(tx, account, mailbox, [Deposit(id, id, prefix, 1.0, size, made, b"()")], 0)
            assert isinstance(done, Deposited)

        await self.database.write([account], put)
        return id

    async def texts(self, *texts: str, account: AccountId = BOB) -> list[int]:
        return [await self.deliver(b"\r\n" + text.encode(), account) for text in texts]

    async def mailbox(self, account: AccountId = BOB, name: str = "INBOX") -> int:
        found = await self.database.read(lambda reader: mailboxes.find(reader, account, name))
        assert found is not None
        return found.id

    async def ask(self, *sought: Sought, account: AccountId = BOB, name: str = "INBOX") -> Found:
        return await self.fulltext.look_up(account, await self.mailbox(account, name), sought)

    async def hits(self, text: str, where: Where = Where.BODY, account: AccountId = BOB) -> Hits:
        one = Sought(where, fold(text))
        return (await self.ask(one, account=account)).hits[one]

    async def found(self, text: str, where: Where = Where.BODY, account: AccountId = BOB) -> set[int]:
        return set((await self.hits(text, where, account)).emails)

    async def expunge(self, uids: Sequence[int], account: AccountId = BOB) -> None:
        mailbox = await self.mailbox(account)
        ranges = ranges_of(sorted(uids))
        await self.database.write(
            [account],
            lambda tx: changes.expunge(tx, CONTENTS, account, mailbox, ranges, deleted_only=False),
        )


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    database = open_database(database_url, tmp_path)
    fulltext = open_fulltext(database_url, tmp_path)
    blobs = FileBlobs(tmp_path / "blobs")
    notifier = Notifier(database, tmp_path / "run", poll_seconds=30.0)
    notifier.start()

    def accounts(tx: Tx) -> None:
        for number in (BOB, EVE):
            tx.run(
                "INSERT INTO account (id, address, created) VALUES (?, ?, 0)",
                (number, f"{number}@example.org"),
            )
            mailboxes.create_defaults(tx, number, 1_000_000.0)

    await database.write([], accounts)
    world = World(database_url, tmp_path, database, fulltext, blobs, notifier)
    yield world
    await world.notifier.close()
    await world.fulltext.close()
    await world.database.close()
    await blobs.close()


async def test_every_substring_is_found_and_nothing_else(world: World) -> None:
    # given texts of few different characters, so that much is nearly there
    chance = random.Random(4)
    alphabets = ("ab ", "中文信", "aé\"'*", "かがん", "한글 ", "x中 ", "-_%\\^:")
    texts = ["".join(chance.choices(chance.choice(alphabets), k=chance.randint(1, 14))) for _ in range(150)]
    emails = await world.texts(*texts)
    folded = dict(zip(emails, [fold(text + "\n") for text in texts], strict=True))
    await world.indexer.sweep()

    # then each piece of one is found just where it is
    for _ in range(200):
        text = fold(chance.choice(texts))
        start = chance.randrange(len(text) or 1)
        piece = text[start : start + chance.randint(1, 6)]
        if not piece:
            continue
        sought = Sought(Where.BODY, piece)
        hits = (await world.ask(sought)).hits.get(sought)
        if hits is None:
            # only where it is short and has white space may the index not know
            assert len(piece) < 3
            assert " " in piece
            continue
        assert hits.exact
        assert hits.emails == {email for email in emails if piece in folded[email]}, piece


async def test_headers_and_bodies_are_told_apart(world: World) -> None:
    one = await world.deliver(
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nnothing", prefix=b"X-Trace: lot\r\n"
    )
    other = await world.deliver(b"Subject: x\r\n\r\nGr\xc3\xbc\xc3\x9fe")
    await world.indexer.sweep()

    assert await world.found("grüsse", Where.HEAD) == {one}
    assert await world.found("grüsse", Where.BODY) == {other}
    assert await world.found("grüsse", Where.TEXT) == {one, other}
    assert await world.found("üß", Where.HEAD) == {one}
    assert await world.found("x-trace: lot", Where.HEAD) == {one}
    assert await world.found("ü", Where.TEXT) == {one, other}


async def test_what_is_not_indexed_yet_lies_beyond_the_mark(world: World) -> None:
    # given a mailbox that nobody has looked at, then one message more than was indexed
    await world.texts("needle")
    assert (await world.ask(Sought(Where.BODY, "needle"))).mark == 0
    await world.indexer.sweep()
    await world.texts("needle")

    found = await world.ask(Sought(Where.BODY, "needle"))
    assert found.mark == 2
    assert len(found.hits[Sought(Where.BODY, "needle")].emails) == 1


async def test_the_indexer_goes_on_where_another_has_ended(world: World) -> None:
    emails = await world.texts(*(f"needle {number}" for number in range(150)))

    class Ends(Exception):
        pass

    # given one that fails in the second transaction that puts text in, however often it is tried
    indexer = world.indexer
    advance, times = world.fulltext.advance, 0

    def failing(*arguments: object, **named: object) -> bool:
        nonlocal times
        times += 1
        if times >= 2:
            raise Ends
        return advance(*arguments, **named)  # type: ignore[arg-type]

    world.fulltext.advance = failing  # type: ignore[method-assign]
    with pytest.raises(Ends):
        await indexer.sweep()
    world.fulltext.advance = advance  # type: ignore[method-assign]
    assert (await world.ask()).mark == 101

    # when another begins, on a new connection
    await world.fulltext.close()
    world.fulltext = open_fulltext(world.url, world.directory)
    await world.indexer.sweep()

    assert (await world.ask()).mark == 151
    assert await world.found("needle") == set(emails)


async def test_who_is_late_writes_nothing(world: World) -> None:
    # given two that have read the same mark
    mailbox = await world.mailbox()

    def advance(tx: Tx) -> bool:
        return world.fulltext.advance(tx, BOB, mailbox, (0, 5), [])

    assert await world.fulltext.database.write([], advance)
    assert not await world.fulltext.database.write([], advance)


async def test_what_was_forgotten_meanwhile_does_not_count_as_indexed(world: World) -> None:
    # given an indexer that has seen a message in the index, which was then forgotten
    (email,) = await world.texts("needle")
    await world.indexer.sweep()
    mailbox = await world.mailbox()
    await world.indexer.forget(BOB)

    def advance(tx: Tx) -> bool:
        return world.fulltext.advance(tx, BOB, mailbox, (0, 5), [], there=[email])

    # then it writes no mark, and the next one puts it in
    assert not await world.fulltext.database.write([], advance)
    assert (await world.ask()).mark == 0
    await world.indexer.sweep()
    assert await world.found("needle") == {email}


async def test_what_is_expunged_leaves_the_index(world: World) -> None:
    emails = await world.texts("needle one", "needle two", "针")
    await world.indexer.sweep()
    await world.expunge([1, 3])
    await world.indexer.sweep()

    assert await world.found("needle") == {emails[1]}
    assert await world.found("针") == set()
    assert await world.fulltext.database.read(lambda reader: world.fulltext.count(reader, BOB)) == 1


async def test_a_copy_is_found_without_being_indexed_again(world: World) -> None:
    (email,) = await world.texts("needle")
    await world.indexer.sweep()
    inbox = await world.mailbox()
    terms = changes.Terms(now=1.0, limit=0)
    await world.database.write([BOB], lambda tx: changes.copy(tx, BOB, inbox, [(1, 1)], "Archive", terms))
    await world.indexer.sweep()

    assert (await world.ask(name="Archive")).mark == 2
    assert await world.found("needle") == {email}
    # and it stays while one of the two does
    await world.expunge([1])
    await world.indexer.sweep()
    assert await world.found("needle") == {email}


async def test_nobody_finds_the_mail_of_another(world: World) -> None:
    (bobs,) = await world.texts("needle 针 ab")
    (eves,) = await world.texts("needle 针 ab", account=EVE)
    await world.indexer.sweep()

    for text in ("needle", "针", "ab"):
        assert await world.found(text) == {bobs}
        assert await world.found(text, account=EVE) == {eves}


async def test_an_account_that_is_gone_leaves_the_index(world: World) -> None:
    await world.texts(*["needle"] * 3)
    (eves,) = await world.texts("needle", account=EVE)
    await world.indexer.sweep()
    await world.database.write([], lambda tx: tx.run("DELETE FROM account WHERE id = ?", (BOB,)))
    await world.indexer.sweep()

    assert await world.fulltext.database.read(lambda reader: world.fulltext.count(reader, BOB)) == 0
    assert await world.found("needle", account=EVE) == {eves}


async def test_an_older_state_of_the_mail_is_indexed_anew(world: World) -> None:
    # given an index of a later state than a backup that was restored
    await world.texts("needle one", "needle two")
    await world.indexer.sweep()
    await world.expunge([1, 2])

    def restore(tx: Tx) -> None:
        tx.run("UPDATE mailbox SET uidnext = 1 WHERE account = ?", (BOB,))
        tx.run("UPDATE account SET modseq = 1 WHERE id = ?", (BOB,))

    await world.database.write([BOB], restore)
    emails = await world.texts("other needle", "other needle", "other needle")
    await world.indexer.sweep()

    assert await world.found("needle") == set(emails)


async def test_an_index_that_is_ahead_of_a_restored_backup_is_begun_anew(
    world: World, tmp_path: Path
) -> None:
    """Whatever has come into the backup since, so that no number of it tells any more how old it was."""
    if "://" in world.url:
        pytest.skip("on PostgreSQL the index is in the same backup")
    await world.texts("one")
    await world.indexer.sweep()
    # given a backup of the database alone, and an index that went on after it
    backup = tmp_path / "backup.db"
    connection = apsw.Connection(str(database_path(world.url, tmp_path)))
    connection.execute("VACUUM INTO ?", (str(backup),))
    connection.close()
    await world.texts("lost", "lost", "lost")
    await world.indexer.sweep()
    await world.fulltext.close()
    await world.notifier.close()
    await world.database.close()
    # when it is restored, and mail comes in before anybody looks at the index
    for name in ("posthouse.db-wal", "posthouse.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(backup, database_path(world.url, tmp_path))
    world.database = open_database(world.url, tmp_path)
    world.notifier = Notifier(world.database, tmp_path / "run2", poll_seconds=30.0)
    world.notifier.start()
    emails = await world.texts("needle", "needle", "needle", "needle")
    world.fulltext = open_fulltext(world.url, tmp_path)
    # then nothing is taken for indexed that is not, and soon all is
    assert (await world.ask(Sought(Where.BODY, "needle"))).mark == 0
    await world.indexer.sweep()
    assert await world.found("needle") == set(emails)
    assert await world.found("lost") == set()


async def test_the_rest_of_a_long_text_is_known_to_be_missing(world: World) -> None:
    world.text_limit = 1000
    short, long = await world.texts("needle", "needle " + "hay " * 500 + "pin")
    large = await world.deliver(b"\r\n" + b"needle " + b"hay " * 50_000 + b"pin")
    await world.indexer.sweep()

    found = await world.ask(Sought(Where.BODY, "needle"), Sought(Where.BODY, "pin"))
    assert found.partial == {long, large}
    assert found.hits[Sought(Where.BODY, "needle")].emails == {short, long, large}
    assert found.hits[Sought(Where.BODY, "pin")].emails == set()


async def test_a_large_message_is_indexed_as_a_whole(world: World) -> None:
    large = await world.deliver(b"Subject: x\r\n\r\n" + b"hay\r\n" * 50_000 + b"nadel")
    await world.indexer.sweep()
    assert await world.found("hay nadel") == {large}


async def test_a_message_whose_octets_are_lost_holds_nobody_up(world: World) -> None:
    lost = await world.deliver(b"Subject: needle\r\n\r\n" + b"hay\r\n" * 50_000)
    for path in (world.directory / "blobs").rglob("*"):
        if path.is_file():
            path.unlink()
    (there,) = await world.texts("needle")
    await world.indexer.sweep()

    found = await world.ask(Sought(Where.TEXT, "needle"))
    assert found.partial == {lost}
    assert found.hits[Sought(Where.TEXT, "needle")].emails == {lost, there}


async def test_a_very_long_string_finds_candidates(world: World) -> None:
    text = " ".join(f"word{number}" for number in range(60))
    (email, _) = await world.texts(text, "word1 word2")
    await world.indexer.sweep()
    assert (await world.hits(text)).emails == {email}


async def test_the_indexer_finds_threads_before_anybody_asks(world: World) -> None:
    # given an answer that came before what it answers, and another letter
    answer = await world.deliver(b"Message-ID: <b@x>\r\nIn-Reply-To: <a@x>\r\nSubject: Re: plan\r\n\r\n")
    root = await world.deliver(b"Message-ID: <a@x>\r\nSubject: plan\r\n\r\n")
    other = await world.deliver(b"Message-ID: <c@x>\r\nSubject: plan\r\n\r\n", EVE)
    assert await world.database.read(lambda reader: threads.incomplete(reader, BOB))
    # when
    await world.indexer.sweep()
    # then
    for account, thread, emails in ((BOB, answer, [answer, root]), (EVE, other, [other])):
        assert not await world.database.read(partial(threads.incomplete, account=account))
        found = await world.database.read(partial(threads.members, account=account, thread=thread))
        assert found == emails


async def test_it_hears_of_new_mail(world: World) -> None:
    # given an indexer at work, which has looked at everything when it began
    await world.texts("hay")
    indexer = world.indexer
    indexer.start()
    changed = world.fulltext.database
    try:
        while not (began := (await world.ask()).mark):
            await changed.read(lambda reader: None)
        await world.texts("needle")
        modseq = (await world.database.read(lambda reader: usage.modseqs(reader, [BOB])))[0][1]
        # when somebody is told of a change
        world.notifier.changed(BOB, modseq)
        # then it comes to be known (the test's own time limit ends the wait)
        while (await world.ask()).mark == began:
            await changed.read(lambda reader: None)
        assert await world.found("needle")
    finally:
        await indexer.stop()


async def test_one_process_does_it_for_all(world: World) -> None:
    # given that another process holds the lease
    await world.texts("needle")
    other = open_database(world.url, world.directory)
    try:
        elsewhere = Indexer(other, world.fulltext, world.blobs, world.notifier, text_limit=0)
        assert await elsewhere._is_mine()
        await world.indexer.sweep()
        assert (await world.ask()).mark == 0
        await elsewhere.sweep()
        assert (await world.ask()).mark == 2
    finally:
        await other.close()


async def test_marks_of_deleted_mailboxes_go(world: World) -> None:
    mailbox = await world.mailbox(name="Archive")
    await world.deliver(b"\r\nx", mailbox="Archive")
    await world.indexer.sweep()
    await world.database.write([BOB], lambda tx: mailboxes.delete(tx, BOB, "Archive"))
    await world.indexer.sweep()

    marks = await world.fulltext.database.read(lambda reader: world.fulltext.marks(reader, BOB))
    assert mailbox not in marks


async def test_what_a_session_sees_is_what_is_indexed(world: World) -> None:
    # a mark is a UID of the mailbox: every message below it is one of the index
    await world.texts(*map(str, range(120)))
    await world.expunge(range(1, 60, 2))
    await world.indexer.sweep()
    mailbox = await world.mailbox()
    view = await world.database.read(lambda reader: snapshot.take(reader, BOB, mailbox))
    found = await world.ask()
    known = await world.fulltext.database.read(
        lambda reader: world.fulltext.known(reader, BOB, list(view.emails))
    )
    assert found.mark == view.mailbox.uidnext
    assert known == set(view.emails)
