"""APPEND (RFC 3501 §6.3.11): a message comes in pieces, and is durable before its OK."""

from __future__ import annotations

from posthouse.acceptance.intake import HeadTooLong, Intake, SpooledContent
from posthouse.access.imap import flags
from posthouse.access.imap.state import UNKNOWN_ENCODING, User, completed
from posthouse.mail.header import HeaderIndex
from posthouse.mail.imapform import bodystructure, envelope
from posthouse.mail.mime import scan
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.server import Result
from posthouse.store import changes, mailboxes
from posthouse.store.changes import AppendTarget, NewMessage
from posthouse.store.flags import keyword_text
from posthouse.store.mailboxes import canonical_name

_TOO_BIG = Result("NO", "The message is too large", "TOOBIG")
_NUL = Result("BAD", "NUL is not allowed in a literal")
_EMPTY = Result("NO", "There is nothing in the message", "CANNOT")
_HEAD_TOO_LONG = Result("NO", "The header section is too long", "TOOBIG")
_NO_SPACE = Result("NO", "There is no space to store the message now", "UNAVAILABLE")


class Appending:
    """One APPEND, from its command to the end of its message."""

    __slots__ = ("_bits", "_command", "_failure", "_intake", "_keywords", "_mailbox", "_user")

    def __init__(self, user: User, command: commands.Append) -> None:
        """Raises BadMailboxName, BadKeyword."""
        self._user = user
        self._command = command
        self._mailbox = canonical_name(command.mailbox)
        self._bits, words = flags.split(command.flags)
        self._keywords = keyword_text(words)
        self._intake: Intake | None = None
        self._failure: Result | None = None

    async def begin(self) -> Result | None:
        """None: the message may come. What can be refused at once is, before it does."""
        user = self._user
        if self._command.size > user.services.message_size_limit:
            return _TOO_BIG
        if self._command.size == 0:
            return _EMPTY
        account, name = user.account, self._mailbox
        if not await user.read(lambda reader: mailboxes.exists(reader, account, name)):
            raise AppendTarget(f"There is no mailbox {name}")
        self._intake = Intake(user.services.spool_directory)
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

    async def end(self) -> Result:
        """Store the message. Raises AppendTarget, QuotaExceeded, DatabaseError."""
        intake, self._intake = self._intake, None
        if intake is None:
            return self._failure or _NO_SPACE
        user, services = self._user, self._user.services
        try:
            message = await self._message(intake)
        except HeadTooLong:
            return _HEAD_TOO_LONG
        except OSError:
            intake.discard()
            return _NO_SPACE
        account, mailbox, limit = user.account, self._mailbox, services.mailbox_size_limit
        (done,) = await user.write(lambda tx: changes.append(tx, account, mailbox, [message], limit))
        user.tell(done.modseq)
        code = f"APPENDUID {done.uidvalidity} {done.uid}"  # RFC 4315 §3
        return completed("APPEND", code, await user.news(expunges=True))

    async def _message(self, intake: Intake) -> NewMessage:
        services, command = self._user.services, self._command
        content = intake.finish()
        head, body, digest, blob = content.head, None, b"", None
        if isinstance(content, SpooledContent):
            structure = content.part
            digest, blob = content.digest, await services.blobs.store(content.path)
        else:
            structure = scan(content.data)
            body = content.data[len(head) :]
        return NewMessage(
            id=services.new_id(),
            head=head,
            body=body,
            size=content.size,
            hash=digest,
            blob=blob,
            arrived=services.clock.now() if command.date is None else command.date,
            envelope=envelope(HeaderIndex(head)),
            bodystructure=bodystructure(structure),
            flags=self._bits,
            keywords=self._keywords,
        )
