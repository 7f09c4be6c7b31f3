"""APPEND and REPLACE (RFC 3501 §6.3.11, RFC 3502, RFC 4469, RFC 8508): messages come in pieces or parts.

They are durable before the OK, and what REPLACE takes away goes in the same transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posthouse.acceptance.intake import ArrivedContent, HeadTooLong, Intake, SpooledContent, structure_of
from posthouse.access.imap import flags, message_limit, urls
from posthouse.access.imap.mailboxes import renamed
from posthouse.access.imap.messages import NO_EXPUNGE, highest_modseq, may_know_uids, owner, target_of
from posthouse.access.imap.selected import REMOVED
from posthouse.access.imap.state import READ_ONLY, UNKNOWN_ENCODING, User, completed
from posthouse.access.imap.uploading import Uploading
from posthouse.access.places import Place, flags_kept, place
from posthouse.mail.content import MemoryContent
from posthouse.mail.header import HeaderIndex
from posthouse.mail.imapform import envelope
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.events import Result, WholeMessage
from posthouse.protocol.imap.sequence import SequenceSet, write_sequence_set
from posthouse.protocol.imap.url import BadUrl, MessageUrl, parse_url, shown
from posthouse.store import changes
from posthouse.store.changes import NewMessages, Replaced
from posthouse.store.content import New
from posthouse.store.deposit import Deposit, Deposited
from posthouse.store.flags import ALL_FLAGS, keyword_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from posthouse.db import Tx
    from posthouse.store.rights import Rights

_TOO_BIG = Result("NO", "The message is too large", "TOOBIG")
_NUL = Result("BAD", "NUL is not allowed in a literal")
_EMPTY = Result("NO", "There is nothing in the message", "CANNOT")
_TOO_MANY = Result("NO", "Too much for one command", "LIMIT")
_NOTHING_TO_REPLACE = Result("NO", "There is no message to replace", "NONEXISTENT")  # RFC 8508 §3.2
_EIGHT_BIT = Result("NO", "Say ENABLE UTF8=ACCEPT first: the header has 8-bit characters", "CANNOT")
_HEAD_TOO_LONG = Result("NO", "The header section is too long", "TOOBIG")
_NO_SPACE = Result("NO", "There is no space to store the message now", "UNAVAILABLE")

_MOST_MESSAGES = 5000
_MANY = 100


class Appending:
    """One APPEND, from its command to the end of its last message."""

    __slots__ = (
        "_command",
        "_copies",
        "_failure",
        "_flags",
        "_given",
        "_intake",
        "_keywords",
        "_mailbox",
        "_replaced",
        "_services",
        "_size",
        "_target",
        "_uploading",
        "_user",
    )

    def __init__(self, user: User, command: commands.Append) -> None:
        self._user = user
        self._services = user.services
        self._mailbox = command.mailbox
        self._command: commands.Append | commands.AppendNext = command
        self._intake: Intake | None = None
        self._copies: list[Deposit] = []
        self._uploading = Uploading(user.services)
        self._given: tuple[str, ...] = ()
        self._flags = 0
        self._keywords = ""
        self._size = 0
        self._replaced: Replaced | None = None
        self._target = Place(None, "", "")
        self._failure: Result | None = None

    async def begin(self) -> Result | None:
        """None: the message may come. What can be refused at once is, before it does. Raises BadKeyword."""
        refused = self._refusal(self._command.size)
        if refused is not None:
            return refused
        if isinstance(self._command, commands.Append) and self._command.replaces is not None:
            if self._user.open.read_only:
                return READ_ONLY
            if not self._user.open.rights.issuperset("te"):
                return NO_EXPUNGE  # RFC 8508 §3.6
            self._replaced = self._to_replace(self._command.replaces, self._command.uid)
            if self._replaced is None:
                return _NOTHING_TO_REPLACE
        self._target = target = await place(self._user, self._mailbox)
        await self._user.read(lambda reader: target_of(reader, self._user, target))
        self._intake = Intake(self._services.spool_directory)
        return None

    async def next(self, command: commands.AppendNext) -> Result | None:
        """The message is complete; None: the next one may come. Raises BadKeyword, DatabaseError."""
        await self._complete()
        await self._uploading.go_on()
        self._command = command
        refused = self._refusal(self._command.size)
        if refused is None and self._failure is None:
            self._intake = Intake(self._services.spool_directory)
        return refused

    async def whole(self, messages: Sequence[WholeMessage]) -> Result | None:
        """Take messages that have come; None: the next one may come. Raises BadKeyword, DatabaseError."""
        await self._complete()
        for command, octets in messages:
            self._command = command
            refused = self._refusal(len(octets))
            if refused is not None:
                return refused
            if b"\0" in octets:
                self._fail(_NUL)
            if self._failure is None:
                self._take_in_memory(MemoryContent(octets))
        await self._uploading.go_on()
        return None

    def _refusal(self, size: int) -> Result | None:
        self._size = 0
        if size > self._services.message_size_limit:
            return _TOO_BIG
        if size == 0 and not self._command.catenate:
            return _EMPTY
        count = len(self._copies)
        offers = self._services.imap
        limit = offers.message_limit or offers.save_limit
        if limit and count >= limit:
            return message_limit.refusal(limit)
        if count >= _MOST_MESSAGES:
            return _TOO_MANY
        if self._command.flags != self._given:
            self._given = self._command.flags
            self._flags, words = flags.split(self._given)
            self._keywords = keyword_text(words)
        return None

    def _to_replace(self, number: SequenceSet, uid: bool) -> Replaced | None:
        """The message that REPLACE names; None: no message has this UID. Raises NoSuchMessage."""
        selected = self._user.open
        ranges = selected.uid_ranges(selected.runs(number, uid=uid))
        return Replaced(selected.mailbox, ranges[0][0]) if ranges else None

    def text(self, command: commands.CatenateText) -> Result | None:
        """None: a part may come."""
        return self._grown(command.size)

    async def url(self, command: commands.CatenateUrl) -> Result | None:
        """Take what a URL names as a part (RFC 4469 §4)."""
        try:
            pieces = await urls.named(self._user, self._of_ours(parse_url(command.url)))
            refused = self._grown(pieces.size)
            if refused is not None:
                return refused
            async for octets in pieces.read():
                self.feed(octets)
        except BadUrl as problem:
            return Result("NO", f"Cannot take what the URL names: {problem}", f"BADURL {shown(command.url)}")
        return None

    def _of_ours(self, url: MessageUrl) -> MessageUrl:
        """The URL, if it may be of the user's own mail here."""
        urls.of_this_server(self._services, url)
        if url.user.lower() not in ("", self._user.login.lower()):
            raise BadUrl("it is of another user")
        return url

    def _grown(self, octets: int) -> Result | None:
        """The message is longer by a part."""
        self._size += octets
        if self._size > self._services.message_size_limit:
            return _TOO_BIG
        return None

    def feed(self, octets: bytes) -> None:
        """Take a piece of the message."""
        if self._intake is None:
            return
        if b"\0" in octets:
            # RFC 3516 §4.4: what a literal8 brings may be refused; another literal has no NUL (RFC 3501 §9)
            return self._fail(UNKNOWN_ENCODING if self._command.binary else _NUL)
        try:
            self._intake.feed(octets)
        except HeadTooLong:
            self._fail(_HEAD_TOO_LONG)
        except OSError:
            self._fail(_NO_SPACE)

    def _fail(self, result: Result) -> None:
        self._failure = result
        self._drop()

    def discard(self) -> None:
        """Forget the messages."""
        self._drop()
        self._uploading.abandon()

    def _drop(self) -> None:
        if self._intake is not None:
            self._intake.discard()
            self._intake = None

    async def _complete(self) -> None:
        """Take the message that has come to the others."""
        intake, self._intake = self._intake, None
        if intake is None:
            return
        try:
            content = intake.finish()
            if not content.size:
                self._failure = self._failure or _EMPTY
            await self._take_in(content)
        except HeadTooLong:
            self._failure = _HEAD_TOO_LONG
        except OSError:
            intake.discard()
            self._failure = _NO_SPACE

    async def end(self) -> Result:
        """Store the messages, all or none. Raises AppendTarget, QuotaExceeded, DatabaseError."""
        await self._complete()
        if self._failure is not None:
            return self._failure
        if self._replaced is not None:
            return await self._replace(self._replaced)
        user, services, copies, uploading = self._user, self._services, self._copies, self._uploading
        target, limit, now = self._target, services.mailbox_size_limit, services.clock.now()
        rest = await uploading.rest()

        def closure(tx: Tx) -> Deposited:
            found = target_of(tx, user, target)
            uploading.claim(tx)
            messages = NewMessages(_permitted(copies, found.rights), rest)
            return changes.append(tx, found.account, target.name, messages, limit, now)

        done = await user.write(closure, *owner(target), long=len(copies) > _MANY)
        uploading.claimed()
        user.tell(done.modseq, target.account)
        told = self._told_uids(done)
        code = told if await may_know_uids(user, target) else ""
        said = renamed(user, self._mailbox, target.full)
        return completed("APPEND", code, said + await user.news(expunges=True))

    async def _replace(self, replaced: Replaced) -> Result:
        """Store the message and remove the old one, at once (RFC 8508 §3.1)."""
        user, services, copies = self._user, self._services, self._copies
        target, limit, now = self._target, services.mailbox_size_limit, services.clock.now()
        source = user.open.account
        contents = await self._uploading.rest()

        def closure(tx: Tx) -> tuple[int, Deposited]:
            found = target_of(tx, user, target)
            messages, to = NewMessages(_permitted(copies, found.rights), contents), found.account
            return changes.replace(
                tx, services.contents, source, replaced, target.name, messages, limit, now, to
            )

        removed, done = await user.write(closure, source, *owner(target))
        user.tell(removed, source)
        user.tell(done.modseq, target.account)
        told = self._told_uids(done)
        code = f"[{told}] " if await may_know_uids(user, target) else ""
        said = f"* OK {code}In its place\r\n".encode()
        said += await user.news(expunges=True, own=REMOVED)
        return completed("REPLACE", highest_modseq(user), said)

    def _told_uids(self, done: Deposited) -> str:
        """APPENDUID (RFC 4315 §3, RFC 3502 §6.3.11); what has been put is known to be this session's."""
        user, target = self._user, self._target
        uids = range(done.uid, done.uid + len(self._copies))
        user.has_put(target.account or user.account, done.uidvalidity, uids)
        return f"APPENDUID {done.uidvalidity} {write_sequence_set(uids).decode()}"

    async def _take_in(self, content: ArrivedContent) -> None:
        """Take a message to those that are to be stored. Raises OSError."""
        if isinstance(content, SpooledContent):
            blob = await self._services.blobs.store(content.path)
            new = New(self._services.new_id(), content.head, None, content.size, content.digest, blob)
            self._add(new, HeaderIndex(content.head), content)
        else:
            self._take_in_memory(content)

    def _take_in_memory(self, content: MemoryContent) -> None:
        head, data = content.head, content.data
        new = New(self._services.new_id(), head, data[len(head) :], len(data))
        self._add(new, HeaderIndex(head), content)

    def _add(self, new: New, header: HeaderIndex, content: ArrivedContent) -> None:
        date = self._command.date
        arrived = self._services.clock.now() if date is None else date
        forms = envelope(header), structure_of(header, content)
        self._uploading.add(new)
        if not (self._services.append_8bit_headers or self._user.enabled.utf8 or new.head.isascii()):
            self._failure = _EIGHT_BIT  # RFC 6855 §4
        self._copies.append(
            Deposit(new.id, new.id, b"", arrived, new.size, *forms, self._flags, self._keywords)
        )


def _permitted(copies: list[Deposit], rights: Rights) -> list[Deposit]:
    """The messages with the flags that may be set where they go (RFC 4314 §4)."""
    mask, keywords = flags_kept(rights), "w" in rights
    if mask == ALL_FLAGS and keywords:
        return copies
    return [
        copy._replace(flags=copy.flags & mask, keywords=copy.keywords if keywords else "") for copy in copies
    ]
