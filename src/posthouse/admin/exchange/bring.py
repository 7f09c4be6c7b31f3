"""Import: the mail of a source into one account, each message once, however often it is run.

What was brought before gets the flags that it has in the source now; what is new there is added. One
transaction holds up to `WINDOW` messages or some megabytes, so an interrupted import has lost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from posthouse.acceptance.intake import HeadTooLong, Intake, SpooledContent, structure_of
from posthouse.admin.exchange.folders import Folder, Item, Source
from posthouse.mail.header import HeaderIndex
from posthouse.mail.imapform import envelope
from posthouse.store import imports, mailboxes
from posthouse.store.changes import NewMessages
from posthouse.store.content import New
from posthouse.store.deposit import Deposit
from posthouse.store.flags import BadKeyword, keyword_text
from posthouse.store.imports import Brought, Marked
from posthouse.store.mailboxes import Mailbox, MailboxError, canonical_name

if TYPE_CHECKING:
    from posthouse.db import Database, Reader, Tx
    from posthouse.db.blobs import Blobs
    from posthouse.mail.envelope import AccountId

T = TypeVar("T")

HELD: Final = 8 * 1024 * 1024
"""Octets of messages in memory before they are written."""
SKIPPED_TOLD: Final = 100


class Progress(Protocol):
    """Told what is being done, in messages."""

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, amount: int) -> None: ...


class Place(NamedTuple):
    """Where mail goes."""

    database: Database
    blobs: Blobs
    new_id: Callable[[], int]
    now: Callable[[], float]
    mailbox_size_limit: int


class Wishes(NamedTuple):
    """How it is to be done."""

    keep_uids: bool = False
    flags: bool = True
    """Messages that were brought before get the flags of the source."""
    dry_run: bool = False
    names: Mapping[str, str] = {}
    """Folders of the source that go to mailboxes of another name."""


class Outcome:
    """What was done for one account."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.folders = self.added = self.known = self.flags_changed = self.octets = self.uids_not_kept = 0
        self.skipped: list[str] = []
        """Messages that cannot be stored, and why; the first ones."""
        self.skipped_count = 0
        self.warnings: list[str] = []
        """What is wrong with messages that were brought all the same; the first ones."""

    def skip(self, why: str) -> None:
        self.skipped_count += 1
        if len(self.skipped) < SKIPPED_TOLD:
            self.skipped.append(why)

    def warn(self, item: Item) -> None:
        if item.warning and len(self.warnings) < SKIPPED_TOLD:
            self.warnings.append(item.warning)


async def bring(
    source: Source, place: Place, account: AccountId, address: str, wishes: Wishes, progress: Progress
) -> Outcome:
    """Raises SourceProblem, QuotaExceeded, UidsNotFree, DatabaseError."""
    outcome = Outcome(address)
    folders = await source.folders()
    for folder in sorted(folders, key=lambda folder: (folder.name != "INBOX", folder.name)):
        work = _Folder(source, place, account, wishes, progress, outcome)
        await work.bring(folder)
    return outcome


class _Folder:
    """One folder of the source on its way into one mailbox."""

    def __init__(
        self,
        source: Source,
        place: Place,
        account: AccountId,
        wishes: Wishes,
        progress: Progress,
        outcome: Outcome,
    ) -> None:
        self._source = source
        self._place = place
        self._account = account
        self._wishes = wishes
        self._progress = progress
        self._outcome = outcome
        self._waiting: list[Brought] = []
        self._held = 0

    async def bring(self, folder: Folder) -> None:
        name = await self._name(folder)
        if name is None:
            self._outcome.skip(f"folder {folder.name}: no mailbox can have this name")
            return
        self._progress.stage(f"{self._outcome.account} {name}", folder.messages)
        self._outcome.folders += 1
        mailbox = await self._mailbox(folder, name)
        async for window in self._source.windows(folder):
            for item in window:
                self._outcome.warn(item)
            items = {imports.item_of(*item.identity): item for item in window}
            known = await self._known(mailbox, list(items))
            new = [item for hash, item in items.items() if hash not in known]
            await self._mark(mailbox, {known[hash]: item for hash, item in items.items() if hash in known})
            self._outcome.known += len(known)
            if self._wishes.dry_run or mailbox is None:
                self._outcome.added += len(new)
                self._outcome.octets += sum(item.size for item in new)
            elif new:
                await self._add(folder, mailbox, new)
            self._progress.advance(len(window))
        if self._wishes.keep_uids and folder.uidnext and mailbox is not None and not self._wishes.dry_run:
            await self._write(
                partial(imports.expect_uid, account=self._account, mailbox=mailbox.id, uid=folder.uidnext)
            )

    async def _name(self, folder: Folder) -> str | None:
        """The mailbox that a folder goes to; None: it cannot be."""
        wanted = self._wishes.names.get(folder.name)
        if wanted is None and folder.special is not None:
            special = folder.special
            wanted = await self._place.database.read(
                lambda reader: imports.with_special_use(reader, self._account, special)
            )
        try:
            return canonical_name(wanted or folder.name)
        except MailboxError:
            return None

    async def _mailbox(self, folder: Folder, name: str) -> Mailbox | None:
        """The mailbox; None in a dry run where there is none yet."""
        account = self._account
        if self._wishes.dry_run:
            return await self._place.database.read(lambda reader: mailboxes.find(reader, account, name))
        keep = folder.uidvalidity if self._wishes.keep_uids else 0
        now = self._place.now()

        def closure(tx: Tx) -> Mailbox:
            found = imports.target(
                tx, account, name, now, special=folder.special, subscribed=folder.subscribed
            )
            if keep:
                imports.keep_uids(tx, account, found, keep)
            return found

        return await self._write(closure)

    async def _known(self, mailbox: Mailbox | None, hashes: list[int]) -> dict[int, int]:
        if mailbox is None:
            return {}
        account, id = self._account, mailbox.id

        def look(reader: Reader) -> dict[int, int]:
            return imports.known(reader, account, id, hashes)

        return await self._place.database.read(look)

    async def _mark(self, mailbox: Mailbox | None, known: Mapping[int, Item]) -> None:
        if not self._wishes.flags or self._wishes.dry_run or not known or mailbox is None:
            return
        marked = [Marked(uid, item.flags, _keywords(item)) for uid, item in known.items()]
        self._outcome.flags_changed += await self._write(
            partial(imports.mark, account=self._account, mailbox=mailbox.id, marked=marked)
        )

    async def _add(self, folder: Folder, mailbox: Mailbox, items: list[Item]) -> None:
        intake = Intake(self._place.blobs.spool_directory)
        too_long, empty = False, True
        try:
            async for piece in self._source.contents(folder, items):
                if isinstance(piece, bytes):
                    empty = empty and not piece
                    try:
                        # IMAP cannot send a NUL (RFC 3501 §9); Dovecot shows it as this octet, too.
                        if not too_long:
                            intake.feed(piece.replace(b"\0", b"\x80"))
                    except HeadTooLong:
                        too_long = True
                    continue
                if too_long or empty:
                    why = "its head is too long" if too_long else "it is empty"
                    self._outcome.skip(f"{folder.name} {'/'.join(piece.identity[1:])}: {why}")
                    intake.discard()
                else:
                    await self._hold(piece, intake)
                intake, too_long, empty = Intake(self._place.blobs.spool_directory), False, True
                if self._held > HELD:
                    await self._flush(mailbox)
            await self._flush(mailbox)
        finally:
            intake.discard()

    async def _hold(self, item: Item, intake: Intake) -> None:
        """Take a message to those that wait to be written."""
        content = intake.finish()
        id, head, size = self._place.new_id(), content.head, content.size
        header = HeaderIndex(head)
        if isinstance(content, SpooledContent):
            blob = await self._place.blobs.store(Path(content.path))
            new = New(id, head, None, size, content.digest, blob)
            self._held += len(head)
        else:
            new = New(id, head, content.data[len(head) :], size)
            self._held += size
        copy = Deposit(
            email=id,
            content=id,
            prefix=b"",
            arrived=self._place.now() if item.date is None else item.date,
            size=size,
            envelope=envelope(header),
            bodystructure=structure_of(header, content),
            flags=item.flags,
            keywords=keyword_text(_keywords(item)),
        )
        uid = item.uid if self._wishes.keep_uids else 0
        self._waiting.append(Brought(imports.item_of(*item.identity), uid, NewMessages([copy], [new])))

    async def _flush(self, mailbox: Mailbox) -> None:
        """Write what waits."""
        waiting, self._waiting, self._held = self._waiting, [], 0
        if not waiting:
            return
        limit, now = self._place.mailbox_size_limit, self._place.now()
        uids = await self._write(
            partial(
                imports.add, account=self._account, mailbox=mailbox.id, brought=waiting, limit=limit, now=now
            )
        )
        outcome = self._outcome
        outcome.added += len(uids)
        outcome.octets += sum(copy.size for one in waiting for copy in one.message.copies)
        outcome.uids_not_kept += sum(
            1 for one, uid in zip(waiting, uids, strict=True) if one.uid and one.uid != uid
        )

    async def _write(self, closure: Callable[[Tx], T]) -> T:
        return await self._place.database.write([self._account], closure, long=True)


def _keywords(item: Item) -> tuple[str, ...]:
    """The keywords that can be ones here: atoms, and not too many."""
    words: list[str] = []
    for word in item.keywords:
        try:
            keyword_text([*words, word])
        except BadKeyword:
            continue
        words.append(word)
    return tuple(words)
