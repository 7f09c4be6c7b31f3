"""APPEND (RFC 3501 §6.3.11, RFC 3502): messages come in pieces, and are durable before the OK."""

from __future__ import annotations

from posthouse.acceptance.intake import HeadTooLong, Intake, SpooledContent
from posthouse.access.imap import flags
from posthouse.access.imap.state import UNKNOWN_ENCODING, User, completed
from posthouse.mail import conversation
from posthouse.mail.content import INLINE_LIMIT
from posthouse.mail.header import HeaderIndex
from posthouse.mail.imapform import bodystructure, envelope
from posthouse.mail.mime import scan
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.sequence import write_sequence_set
from posthouse.protocol.imap.server import Result
from posthouse.store import changes, mailboxes
from posthouse.store.changes import AppendTarget, NewMessage
from posthouse.store.flags import keyword_text
from posthouse.store.mailboxes import canonical_name

_TOO_BIG = Result("NO", "The message is too large", "TOOBIG")
_NUL = Result("BAD", "NUL is not allowed in a literal")
_EMPTY = Result("NO", "There is nothing in the message", "CANNOT")
_TOO_MANY = Result("NO", "Too much for one command", "LIMIT")
_HEAD_TOO_LONG = Result("NO", "The header section is too long", "TOOBIG")
_NO_SPACE = Result("NO", "There is no space to store the message now", "UNAVAILABLE")

_MOST_MESSAGES = 5000
_MOST_HELD = 32 * 1024 * 1024
"""Octets of one command's messages that are in memory until they are stored; larger ones are in files."""
_MANY = 100


class Appending:
    """One APPEND, from its command to the end of its last message."""

    __slots__ = ("_command", "_failure", "_held", "_intake", "_mailbox", "_messages", "_user")

    def __init__(self, user: User, command: commands.Append) -> None:
        """Raises BadMailboxName."""
        self._user = user
        self._mailbox = canonical_name(command.mailbox)
        self._command: commands.Append | commands.AppendNext = command
        self._intake: Intake | None = None
        self._messages: list[NewMessage] = []
        self._held = 0
        self._failure: Result | None = None

    async def begin(self) -> Result | None:
        """None: the message may come. What can be refused at once is, before it does. Raises BadKeyword."""
        refused = self._refusal()
        if refused is not None:
            return refused
        account, name = self._user.account, self._mailbox
        if not await self._user.read(lambda reader: mailboxes.exists(reader, account, name)):
            raise AppendTarget(f"There is no mailbox {name}")
        self._intake = Intake(self._user.services.spool_directory)
        return None

    async def next(self, command: commands.AppendNext) -> Result | None:
        """The message is complete; None: the next one may come. Raises BadKeyword."""
        await self._complete()
        self._command = command
        refused = self._refusal()
        if refused is None and self._failure is None:
            self._intake = Intake(self._user.services.spool_directory)
        return refused

    def _refusal(self) -> Result | None:
        size = self._command.size
        if size > self._user.services.message_size_limit:
            return _TOO_BIG
        if size == 0:
            return _EMPTY
        if self._held + min(size, INLINE_LIMIT) > _MOST_HELD or len(self._messages) >= _MOST_MESSAGES:
            return _TOO_MANY
        keyword_text(flags.split(self._command.flags)[1])
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
        self.discard()

    def discard(self) -> None:
        """Forget the message."""
        if self._intake is not None:
            self._intake.discard()
            self._intake = None

    async def _complete(self) -> None:
        """Take the message that has come to the others."""
        intake, self._intake = self._intake, None
        if intake is None:
            return
        try:
            message = await self._message(intake)
        except HeadTooLong:
            self._failure = _HEAD_TOO_LONG
        except OSError:
            intake.discard()
            self._failure = _NO_SPACE
        else:
            self._messages.append(message)
            self._held += len(message.head) + len(message.body or b"")

    async def end(self) -> Result:
        """Store the messages, all or none. Raises AppendTarget, QuotaExceeded, DatabaseError."""
        await self._complete()
        if self._failure is not None:
            return self._failure
        user, services, messages = self._user, self._user.services, self._messages
        account, mailbox, limit = user.account, self._mailbox, services.mailbox_size_limit
        now = services.clock.now()
        done = await user.write(
            lambda tx: changes.append(tx, account, mailbox, messages, limit, now), long=len(messages) > _MANY
        )
        user.tell(done[-1].modseq)
        uids = write_sequence_set(one.uid for one in done).decode()
        code = f"APPENDUID {done[-1].uidvalidity} {uids}"  # RFC 4315 §3, RFC 3502 §6.3.11
        return completed("APPEND", code, await user.news(expunges=True))

    async def _message(self, intake: Intake) -> NewMessage:
        services, command = self._user.services, self._command
        bits, words = flags.split(command.flags)
        content = intake.finish()
        head, body, digest, blob = content.head, None, b"", None
        if isinstance(content, SpooledContent):
            structure = content.part
            digest, blob = content.digest, await services.blobs.store(content.path)
        else:
            structure = scan(content.data)
            body = content.data[len(head) :]
        header = HeaderIndex(head)
        return NewMessage(
            id=services.new_id(),
            head=head,
            body=body,
            size=content.size,
            hash=digest,
            blob=blob,
            arrived=services.clock.now() if command.date is None else command.date,
            envelope=envelope(header),
            bodystructure=bodystructure(structure),
            flags=bits,
            keywords=keyword_text(words),
            keys=conversation.keys(header),
        )
