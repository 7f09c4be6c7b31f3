"""One letter as it leaves by a client's session: the envelope, the content, and each recipient's reply.

With PIPELINING the envelope goes in one group (RFC 2920 §3.1), and a small letter in memory with it by
BDAT (RFC 3030). Without it each command waits for its reply. LMTP answers the data once for each recipient
that it accepted (RFC 2033 §4.2), and gets DATA always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from posthouse.mail.address import AddressError
from posthouse.mail.envelope import Recipient, Sender
from posthouse.mail.reply import Reply
from posthouse.protocol.smtp.commands import mail_command, rcpt_command
from posthouse.protocol.smtp.data import DotWriter

INLINE_CHUNK = 64 * 1024
"""Octets of a letter that are worth risking in one group with its recipients."""

NO_LONGER_OURS = Reply(451, "4.3.0", "Somebody else has taken over this attempt")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for the server (RFC 5321 §4.5.3.2)."""

    greeting: float = 300.0
    command: float = 300.0
    data: float = 120.0
    block: float = 180.0
    final: float = 600.0
    quit: float = 5.0


def _always() -> bool:
    return True


class Transaction(NamedTuple):
    """One letter for one or more recipients."""

    sender: Sender
    recipients: tuple[Recipient, ...]
    size: int
    """Octets of the content."""
    content: bytes | None = None
    """The content where it is in memory; else the session asks for it with WantsContent."""
    internationalized: bool = False
    """The letter cannot be sent without SMTPUTF8 (RFC 6531 §3.2)."""
    may_finish: Callable[[], bool] = _always
    """Asked just before the octets that hand over responsibility; False breaks the attempt off."""


class Finished(NamedTuple):
    """A transaction is over."""

    replies: tuple[Reply, ...]
    """One for each recipient, in order; never with 3xx."""
    in_doubt: bool = False
    """The content was sent whole, and no reply came: it may have been delivered."""
    unheard: bool = False
    """The connection went away without a single reply in this transaction."""


class Speaker(Protocol):
    """The session, as a letter sees it."""

    @property
    def extensions(self) -> Mapping[str, str]: ...
    @property
    def authenticated(self) -> bool: ...
    @property
    def lmtp(self) -> bool: ...
    @property
    def timeouts(self) -> Timeouts: ...

    def command(self, line: bytes, handler: Callable[[Reply], None], timeout: float) -> None:
        """Say a line; `handler` gets its reply."""

    def put(self, octets: bytes) -> None:
        """Write octets of content."""

    def note(self, text: str) -> None:
        """Record in the dialogue what was put."""

    def expect(self, handler: Callable[[Reply], None], timeout: float) -> None:
        """`handler` gets one more reply."""

    def want_content(self) -> None: ...

    def done(self, finished: Finished, *, reset: bool) -> None:
        """The transaction is over; `reset` when the server may think otherwise."""

    def lose(self, reply: Reply) -> None:
        """The connection is of no more use."""


class OutgoingLetter:
    """Drives one transaction through a session."""

    __slots__ = (
        "_accepted", "_answered", "_chunked", "_content_sent", "_finals", "_grouped", "_heard", "_results",
        "_speaker", "_transaction", "_writer",
    )  # fmt: skip

    def __init__(self, speaker: Speaker, transaction: Transaction) -> None:
        self._speaker = speaker
        self._transaction = transaction
        self._results: list[Reply | None] = [None] * len(transaction.recipients)
        """What is decided about each recipient."""
        self._answered = 0
        """Replies to RCPT so far."""
        self._accepted: list[int] = []
        """Places of the recipients that wait for the reply to the data."""
        self._finals = 0
        """Replies to the data so far."""
        self._grouped = "PIPELINING" in speaker.extensions
        self._chunked = (
            transaction.content is not None and "CHUNKING" in speaker.extensions and not speaker.lmtp
        )
        self._content_sent = False
        self._heard = False
        self._writer: DotWriter | None = None

    @property
    def writing(self) -> bool:
        """Content is being asked for piece by piece."""
        return self._writer is not None

    @property
    def phase(self) -> str:
        """What is going on, for words like "Connection lost …"."""
        if self._content_sent:
            return "after the end of data, before its reply (the letter may have arrived)"
        return "while sending the content" if self.writing else "while sending the envelope"

    def begin(self) -> None:
        """Say what can be said before the first reply."""
        transaction, speaker = self._transaction, self._speaker
        objection = self._objection()
        if objection is not None:
            self._decide_rest(objection)
            self._done(reset=False)
            return
        try:
            mail = mail_command(
                transaction.sender,
                transaction.size,
                speaker.extensions,
                internationalized=transaction.internationalized,
                authenticated=speaker.authenticated,
            )
            commands = [self._rcpt(recipient) for recipient in transaction.recipients]
        except AddressError as error:
            self._decide_rest(Reply(553, "5.1.3", f"Cannot say an address to the server: {error}"))
            self._done(reset=False)
            return
        timeout = speaker.timeouts.command
        speaker.command(mail, self._mail_answered, timeout)
        if not self._grouped:
            return
        for command in commands:
            speaker.command(command, self._rcpt_answered, timeout)
        if self._chunked and transaction.size <= INLINE_CHUNK:
            self._send_chunk()
        elif not (self._chunked or speaker.lmtp):
            speaker.command(b"DATA\r\n", self._data_answered, speaker.timeouts.data)

    def lost(self, reply: Reply, *, silently: bool, cut: bool = False) -> Finished:
        """The connection has ended: everybody undecided, accepted or not, gets `reply`.

        `silently`: the server did not say so itself; `cut`: it has closed the connection.
        """
        hopeful = bool(self._accepted) or self._answered < len(self._results)
        self._decide_rest(reply)
        return Finished(
            self._replies(),
            in_doubt=silently and self._content_sent and hopeful,
            unheard=cut and not self._heard,
        )

    def write(self, piece: bytes) -> None:
        """More content, after `want_content`."""
        if self._writer is not None:
            self._speaker.put(self._writer.write(piece))

    def finish(self) -> None:
        """The content is complete."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._hand_over(writer.finish())

    # ── the envelope ─────────────────────────────────────────────────────────────────────────────

    def _objection(self) -> Reply | None:
        """Why the server cannot take the letter, as far as its EHLO tells."""
        offered, transaction = self._speaker.extensions, self._transaction
        limit = offered.get("SIZE", "").partition(" ")[0][:20]
        if limit.isascii() and limit.isdigit() and 0 < int(limit) < transaction.size:  # RFC 1870 §6.1
            return Reply(552, "5.3.4", f"The next hop takes {limit} octets at most, the letter has more")
        if transaction.internationalized and "SMTPUTF8" not in offered:  # RFC 6531 §3.2
            return Reply(553, "5.6.7", "The letter needs SMTPUTF8, which the next hop does not offer")
        return None

    def _rcpt(self, recipient: Recipient) -> bytes:
        return rcpt_command(
            recipient, self._speaker.extensions, internationalized=self._transaction.internationalized
        )

    def _mail_answered(self, reply: Reply) -> None:
        self._heard = True
        if reply.code >= 300:
            self._decide_rest(reply)
            if not self._grouped:
                self._done(reset=True)
        elif not self._grouped:
            self._say_next_rcpt()

    def _say_next_rcpt(self) -> None:
        line = self._rcpt(self._transaction.recipients[self._answered])
        self._speaker.command(line, self._rcpt_answered, self._speaker.timeouts.command)

    def _rcpt_answered(self, reply: Reply) -> None:
        place = self._answered
        self._answered += 1
        if self._results[place] is None:
            if reply.code < 300:
                self._accepted.append(place)
            else:
                self._results[place] = _final(reply)
        if self._answered < len(self._results):
            if not self._grouped:
                self._say_next_rcpt()
        elif not self._grouped or self._speaker.lmtp or self._holds_back_chunk():
            self._envelope_answered()

    def _holds_back_chunk(self) -> bool:
        return self._chunked and self._transaction.size > INLINE_CHUNK

    def _envelope_answered(self) -> None:
        """All recipients are answered, and nothing is under way that carries the content."""
        if not self._accepted:
            self._done(reset=True)
        elif self._chunked:
            self._send_chunk()
        else:
            self._speaker.command(b"DATA\r\n", self._data_answered, self._speaker.timeouts.data)

    # ── the content ──────────────────────────────────────────────────────────────────────────────

    def _send_chunk(self) -> None:
        content = self._transaction.content or b""
        if not self._transaction.may_finish():
            self._speaker.lose(NO_LONGER_OURS)
            return
        speaker = self._speaker
        line = b"BDAT %d LAST\r\n" % len(content)
        speaker.command(line, self._content_answered, speaker.timeouts.final)
        speaker.put(content)
        speaker.note(f"[{len(content)} octets]")
        self._content_sent = True

    def _data_answered(self, reply: Reply) -> None:
        speaker = self._speaker
        if reply.code == 354:
            if not self._accepted:  # RFC 2920 §3.1: nobody is left; send nothing
                speaker.put(b".\r\n")
                speaker.note(".")
                speaker.expect(self._nobody_answered, speaker.timeouts.final)
                return
            self._writer = DotWriter()
            content = self._transaction.content
            if content is None:
                speaker.want_content()
            else:
                self.write(content)
                self.finish()
        elif reply.code < 400:
            speaker.lose(reply)
        else:
            self._decide_rest(reply)
            self._done(reset=True)

    def _hand_over(self, ending: bytes) -> None:
        """The final dot: after it the server is responsible, or not, and we wait to learn which."""
        speaker = self._speaker
        if not self._transaction.may_finish():
            speaker.lose(NO_LONGER_OURS)
            return
        speaker.put(ending)
        speaker.note(f"[{self._transaction.size} octets]")
        speaker.note(".")
        self._content_sent = True
        for _ in range(len(self._accepted) if speaker.lmtp else 1):
            speaker.expect(self._content_answered, speaker.timeouts.final)

    def _content_answered(self, reply: Reply) -> None:
        reply = _final(reply)
        if not self._speaker.lmtp:
            self._decide_rest(reply)
            self._done(reset=self._chunked and reply.code >= 400)
            return
        self._results[self._accepted[self._finals]] = reply
        self._finals += 1
        if self._finals == len(self._accepted):
            self._done(reset=False)

    def _nobody_answered(self, reply: Reply) -> None:
        self._done(reset=False)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def _decide_rest(self, reply: Reply) -> None:
        reply = _final(reply)
        self._results = [reply if result is None else result for result in self._results]

    def _replies(self) -> tuple[Reply, ...]:
        return tuple(result for result in self._results if result is not None)

    def _done(self, *, reset: bool) -> None:
        self._speaker.done(Finished(self._replies()), reset=reset)


def _final(reply: Reply) -> Reply:
    """A reply that decides; 3xx where none belongs decides nothing, so ours takes its place."""
    if 300 <= reply.code < 400:
        return Reply(451, "4.5.0", f"Protocol error: unexpected reply {reply}")
    return reply
