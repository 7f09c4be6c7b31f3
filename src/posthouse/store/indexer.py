"""The indexer: puts new messages into the full-text index and takes out what is gone, in the background.

So it does with their facts (`factpages`), which come first: they take little time, and spare much. And it
keeps the pages from which large mailboxes are opened (`snapshotpages`), makes the previews of new messages
for those whose mail programs have asked for previews, and has rows follow changes of many messages (`wide`).

One process at a time does it for all, by lease. It hears of changes as sessions do and waits a moment for
more; once a minute it looks at every account that has changed since, whoever told of it. A mailbox's mark
and the messages below it are written in one transaction, so it goes on where it, or another, has ended.

It is nobody's competitor: messages are decoded one at a turn of the loop, each of less than a millisecond
unless it is large, in slices after which it rests as long as it worked, and longer while mail comes in.
Whether it is far behind, or not running at all, makes searches slower and nothing else.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import accumulate
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from posthouse.accounts import usage
from posthouse.db import leases
from posthouse.db.errors import DatabaseAway, DatabaseError
from posthouse.mail.casefold import Folding, fold
from posthouse.mail.content import HEAD_LIMIT
from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.mail.mime import Scanner, scan
from posthouse.mail.spelling import words_of
from posthouse.mail.text import body_text, header_text, preview, read_body_text
from posthouse.observe import log, metrics
from posthouse.store import factpages, facts, mailboxes, previews, read, snapshotpages, threads, wide
from posthouse.store.factpages import Page
from posthouse.store.fulltext import LEASE, Document, FullText, headers_text
from posthouse.store.read import Message

if TYPE_CHECKING:
    from posthouse.db import Database, Reader, Tx
    from posthouse.db.blobs import Blobs
    from posthouse.mail.envelope import AccountId
    from posthouse.store.notify import Notifier

T = TypeVar("T")

LEASE_SECONDS = 60.0
SWEEP_SECONDS = 60.0
"""Between two looks at all accounts."""
SETTLE_SECONDS = 1.0
"""From the first change that it hears of, or its start, until it begins."""

_SLICE = 100
"""Messages of one transaction …"""
_SLICE_OCTETS = 2_000_000
"""… unless they are large."""
_FACTS = 500
"""Messages whose facts are made at once …"""
_FACTS_OCTETS = 8_000_000
"""… and about how much of headers is read for them."""
_ACCOUNTS = 1000
_EMAILS = 5000
_NOTED = 10_000
"""Accounts remembered to have changed; more are found by the sweep."""
_BUSY = 40
"""How much longer it rests while mail comes in, which leaves it a fortieth of one core."""

_INDEXED = metrics.counter("posthouse_search_indexed_total", "messages put into the full-text index")
_BACKLOG = metrics.gauge("posthouse_search_backlog", "messages that the indexer has still to index")
_log = log.get("search")


_WITH_WORDS = ("From", "To", "Cc", "Subject")
"""Fields whose words are looked for in spite of typing errors; others have names that machines gave."""


class Texts(NamedTuple):
    """What is found in a message."""

    head: str
    """Folded, as `body`."""
    body: str
    cut: bool
    """At a limit, or where it cannot be read."""
    words: set[str]
    """Of the fields in `_WITH_WORDS` and the body."""
    preview: str | None
    """Where it was wanted and can be read."""


class Indexer:
    """The indexer of one worker. `start` it in the loop, `stop` it before the databases close."""

    def __init__(
        self,
        database: Database,
        fulltext: FullText,
        blobs: Blobs,
        notifier: Notifier,
        *,
        text_limit: int,
    ) -> None:
        """`text_limit`: characters of one message that are indexed; 0: all."""
        self._database = database
        self._fulltext = fulltext
        self._blobs = blobs
        self._notifier = notifier
        self._text_limit = text_limit
        self._noted: set[AccountId] = set()
        self._heard = 0
        self._something = asyncio.Event()
        self._leased_until = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._notifier.on_every_change(self._hear)
        self._task = asyncio.get_running_loop().create_task(self._work(), name="indexer")

    async def stop(self) -> None:
        """End; what is done is kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _hear(self, account: AccountId) -> None:
        self._heard += 1
        if len(self._noted) < _NOTED:
            self._noted.add(account)
            self._something.set()

    async def _work(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)  # those who have waited for the start come first
        sweep = monotonic()
        while True:
            try:
                if monotonic() >= sweep:
                    sweep = monotonic() + SWEEP_SECONDS
                    await self.sweep()
                await self._catch_up()
            except (DatabaseError, OSError) as error:
                _log.warning("the full-text index has to wait", reason=str(error))
                self._something.clear()
            try:
                await asyncio.wait_for(self._something.wait(), max(0.0, sweep - monotonic()))
                await asyncio.sleep(SETTLE_SECONDS)
            except TimeoutError:
                pass

    async def _catch_up(self) -> None:
        """The accounts of which it heard."""
        self._something.clear()
        noted, self._noted = self._noted, set()
        if noted and await self._is_mine():
            for account in sorted(noted):
                await self._settle(account)
                await self._index(account)
        _BACKLOG.set(0)

    async def sweep(self) -> None:
        """Every account that has changed since it was last looked at, and what is gone. Raises DatabaseError.

        Once it is done, all that was there when it began is in the index (unless another process does it).
        """
        last = -1
        while True:
            page = await self._database.read(partial(usage.page, after=last, limit=_ACCOUNTS))
            await self._forget_accounts(last, page)
            if not page:
                return
            last = page[-1][0]
            accounts = [account for account, _ in page]
            looked_at = partial(self._fulltext.looked_at, accounts=accounts)
            known = await self._fulltext.database.read(looked_at)
            for account, modseq in page:
                if known.get(account) == modseq:
                    continue
                if not await self._is_mine():
                    return
                if known.get(account, 0) > modseq:
                    # A backup has been restored: UIDs below a mark may now be other messages'.
                    await self.forget(account)
                await self._look(account, modseq)

    async def forget(self, account: AccountId) -> None:
        """Take all of an account out of the index."""
        left = True
        while left:
            left = await self._write(partial(self._fulltext.forget, account=account))

    async def _forget_accounts(self, after: int, page: Sequence[tuple[AccountId, int]]) -> None:
        """Accounts that are in the index and no longer there: among those that `page` should hold."""
        there = {account for account, _ in page}
        end = max(there, default=2**63)
        while True:
            following = partial(self._fulltext.accounts_after, account=after, limit=_ACCOUNTS)
            some = await self._fulltext.database.read(following)
            for account in some:
                if account <= end and account not in there and await self._is_mine():
                    await self.forget(account)
            if len(some) < _ACCOUNTS or some[-1] >= end:
                return
            after = some[-1]

    async def _is_mine(self) -> bool:
        """Whether this process is the one; renewed while it works."""
        now = monotonic()
        if now < self._leased_until - LEASE_SECONDS / 2:
            return True
        holder = self._database.holder

        def renew(tx: Tx) -> float:
            return leases.ends(tx, LEASE) if leases.take(tx, LEASE, holder, LEASE_SECONDS) else 0.0

        self._leased_until = 0.0
        ends = await self._database.write([], renew)
        if ends:
            await self._fulltext.note_lease(ends)
            self._leased_until = now + LEASE_SECONDS
        return ends > 0.0

    # One account

    async def _look(self, account: AccountId, modseq: int) -> None:
        """All there is to do for an account."""
        await self._settle(account)
        for mailbox, _ in await self._database.read(lambda reader: mailboxes.uidnexts(reader, account)):
            await self._keep_pages(account, mailbox)
        there = await self._index(account)
        if there is None:
            return
        await self._prune(account)
        for mailbox in there:
            await self._shrink(account, mailbox)
        await self._find_threads(account)
        await self._write(partial(self._fulltext.look, account=account, modseq=modseq, mailboxes=there))

    async def _index(self, account: AccountId) -> list[int] | None:
        """Put in what is new; the mailboxes that there are. None: somebody else is doing it."""
        there = await self._database.read(lambda reader: mailboxes.uidnexts(reader, account))
        marks = await self._fulltext.database.read(lambda reader: self._fulltext.marks(reader, account))
        known = await self._fulltext.database.read(lambda reader: factpages.marks(reader, account))
        if any(max(marks.get(mailbox, 0), known.get(mailbox, 0)) > uidnext for mailbox, uidnext in there):
            await self.forget(account)  # a restored backup, as in `sweep`
            marks, known = {}, {}
        for mailbox, uidnext in there:
            if not await self._keep_facts(account, mailbox, known.get(mailbox, 1), uidnext):
                return None
        backlog = sum(uidnext - max(1, marks.get(mailbox, 0)) for mailbox, uidnext in there)
        _BACKLOG.set(backlog)
        for mailbox, uidnext in there:
            mark = marks.get(mailbox, 0)
            while max(1, mark) < uidnext:
                if not await self._is_mine():
                    return None
                started, heard = monotonic(), self._heard
                after = await self._slice(account, mailbox, mark, uidnext)
                if after is None:
                    return None
                backlog -= after - max(1, mark)
                _BACKLOG.set(backlog)
                mark = after
                await self._rest(started, heard)
        return [mailbox for mailbox, _ in there]

    async def _keep_facts(self, account: AccountId, mailbox: int, mark: int, uidnext: int) -> bool:
        """Keep the facts of what is new in a mailbox. False: somebody else is doing it."""
        while mark < uidnext:
            if not await self._is_mine():
                return False
            started, heard = monotonic(), self._heard
            page, facts = await self._database.read(partial(_page, account, mailbox, mark, uidnext))
            put = partial(self._fulltext.put_facts, account=account, mailbox=mailbox, page=page, facts=facts)
            if not await self._write(put):
                return False
            mark = page.below
            await self._rest(started, heard)
        return True

    async def _find_threads(self, account: AccountId) -> None:
        """So that who asks for threads need not wait for those of all his mail."""
        if not await self._database.read(partial(threads.incomplete, account=account)):
            return
        more = True
        while more and await self._is_mine():
            started, heard = monotonic(), self._heard
            complete = partial(threads.complete, account=account)
            more = await self._database.write([account], complete, long=True)
            await self._rest(started, heard)

    async def _rest(self, started: float, heard: int) -> None:
        busy = _BUSY if self._heard > heard else 1
        await asyncio.sleep((monotonic() - started) * busy)

    async def _slice(self, account: AccountId, mailbox: int, mark: int, uidnext: int) -> int | None:
        """The next messages of a mailbox; its new mark. None: somebody else has done them."""
        fulltext = self._fulltext
        following = partial(read.following, account=account, mailbox=mailbox, uid=mark, limit=_SLICE)
        rows = [row for row in await self._database.read(following) if row[0] < uidnext]
        after = uidnext if len(rows) < _SLICE else rows[-1][0] + 1
        emails = [email for _, email, _ in rows]
        there = await fulltext.database.read(partial(fulltext.known, account=account, emails=emails))
        previewed = await self._database.read(partial(previews.wanted, account=account))
        done = set(there)
        documents: list[Document] = []
        beginnings: dict[int, str] = {}
        octets = 0
        for uid, email, size in rows:
            if octets > _SLICE_OCTETS:
                after = uid
                break
            if email not in done:
                done.add(email)
                octets += size
                found = await self._texts(account, email, previewed=previewed)
                if found is None:
                    continue
                documents.append(
                    fulltext.document(account, email, found.head, found.body, found.words, partial=found.cut)
                )
                if found.preview is not None:
                    beginnings[email] = found.preview
        mark_and_text = partial(
            fulltext.advance,
            account=account,
            mailbox=mailbox,
            mark=(mark, after),
            documents=documents,
            there=there,
        )
        if beginnings:
            keep = partial(previews.keep, account=account, texts=beginnings)
            await self._database.write([account], keep, long=True)
        if not await self._write(mark_and_text):
            return None
        _INDEXED.add(len(documents))
        return after

    async def _texts(self, account: AccountId, email: int, *, previewed: bool) -> Texts | None:
        """What is found in a message; None where it has just gone."""

        def query(reader: Reader) -> Message | None:
            return read.open_message(reader, self._blobs, account, email)

        message = await self._database.read(query, point=True)
        if message is None:
            return None
        await asyncio.sleep(0)
        found = await texts(message, self._text_limit, previewed=previewed)
        await asyncio.sleep(0)
        return found

    async def _settle(self, account: AccountId) -> None:
        """Have the rows of messages show what has become of their flags."""
        for mailbox in await self._database.read(partial(wide.mailboxes, account=account)):
            started, heard = monotonic(), self._heard
            async for _ in wide.fold(self._database, account, mailbox):
                await self._rest(started, heard)
                started, heard = monotonic(), self._heard

    async def _keep_pages(self, account: AccountId, mailbox: int) -> None:
        """See to the pages from which a large mailbox is opened."""
        started, heard = monotonic(), self._heard
        async for _ in snapshotpages.keep(self._database, account, mailbox):
            await self._rest(started, heard)
            started, heard = monotonic(), self._heard

    async def _shrink(self, account: AccountId, mailbox: int) -> None:
        """Take the facts of messages out that are gone from a mailbox, if there are any."""
        fulltext, database = self._fulltext, self._database
        pages = await fulltext.database.read(partial(factpages.pages, account=account, mailbox=mailbox))
        whole = pages[-1:] and (pages[0].first, pages[-1].below)
        count = partial(read.count_between, account=account, mailbox=mailbox)
        held = sum(page.messages for page in pages)
        if not whole or held == await database.read(partial(count, uids=whole)):
            return
        for page in pages:
            uids = page.first, page.below
            if page.messages == await database.read(partial(count, uids=uids)):
                continue
            there = await database.read(partial(read.emails, account=account, mailbox=mailbox, uids=uids))
            await self._write(
                partial(fulltext.shrink_facts, account=account, mailbox=mailbox, page=page, there=there)
            )

    async def _prune(self, account: AccountId) -> None:
        """Take out messages that are gone, if there are any."""
        fulltext, database = self._fulltext, self._database
        indexed = await fulltext.database.read(partial(fulltext.count, account=account))
        if indexed <= await database.read(partial(read.count, account=account)):
            return
        some: list[int] = [-1]
        while some:
            after = partial(fulltext.emails_after, account=account, email=some[-1], limit=_EMAILS)
            some = await fulltext.database.read(after)
            # Asked after those were in the index: what is not there now will never be.
            there = await database.read(partial(read.existing, account=account, emails=some))
            if gone := [email for email in some if email not in there]:
                await self._write(partial(fulltext.remove, account=account, emails=gone))

    def _write(self, closure: Callable[[Tx], T]) -> Awaitable[T]:
        return self._fulltext.database.write([], closure, long=True)


def _page(
    account: AccountId, mailbox: int, mark: int, uidnext: int, reader: Reader
) -> tuple[Page, factpages.Columns]:
    """The facts of the next messages of a mailbox, from `mark` on."""
    rows = [row for row in read.following(reader, account, mailbox, mark, _FACTS) if row[0] < uidnext]
    below = uidnext if len(rows) < _FACTS else rows[-1][0] + 1
    octets = list(accumulate(min(size, HEAD_LIMIT) for _, _, size in rows))
    if octets and octets[-1] > _FACTS_OCTETS:
        fitting = max(1, bisect_right(octets, _FACTS_OCTETS))
        rows, below = rows[:fitting], rows[fitting - 1][0] + 1
    uids, emails, sizes = [array("q", column) for column in zip(*rows, strict=True)] or [array("q")] * 3
    made = facts.make(reader, account, mailbox, facts.KEPT, uids, sizes)
    return Page(mark, below, len(rows)), factpages.columns_of(emails, made)


async def texts(message: Message, text_limit: int, *, previewed: bool = False) -> Texts:
    """What is found in a message, with a preview where it is to be `previewed`."""
    head = header_text(message.head)
    beginning: str | None = None
    pieces: list[str] = []
    characters = 0
    folding = Folding()
    cut = False
    try:
        data = message.data
        if data is not None:
            root = scan(data)
            head = await headers_text(message.head, root)
            pieces = [folding.feed(piece, False) for piece in body_text(data, root)]
        else:
            scanner = Scanner()
            async for chunk in message.chunks():
                scanner.feed(chunk)
                await asyncio.sleep(0)
            root = scanner.finish()
            head = await headers_text(message.head, root)
            async for piece in read_body_text(message, root):
                pieces.append(folding.feed(piece, False))
                characters += len(pieces[-1])
                if text_limit and characters > text_limit:
                    break
                await asyncio.sleep(0)
        if previewed:
            beginning = await preview(message, root, previews.CHARACTERS)
    except DatabaseAway:
        raise
    except (DatabaseError, OSError, EOFError) as error:
        _log.warning("a message cannot be indexed as a whole", reason=str(error))
        cut = True
    head = fold(head)
    body = "".join([*pieces, folding.feed("", True)])
    if text_limit and len(head) + len(body) > text_limit:
        head, body, cut = head[:text_limit], body[: max(0, text_limit - len(head))], True
    return Texts(head, body, cut, words_of(body) | words_of(_named(message.head)), beginning)


def _named(head: bytes) -> str:
    """What the header says of whom and of what it is, folded."""
    index = HeaderIndex(head)
    values = [value for name in _WITH_WORDS for value in index.all(name)]
    return fold("\n".join(map(field_value_text, values)))
