"""How a letter comes in at a server: by DATA, in chunks by BDAT (RFC 3030), or from a URL by BURL (RFC 4468).

BDAT's octets follow the command whatever becomes of it: those of a refused chunk are thrown away, so that
the letter's own text is never obeyed. The driver is asked once per letter, at its first chunk.
"""

from __future__ import annotations

from collections.abc import Sequence

from posthouse.mail.reply import LOCAL_ERROR, OK, START_MAIL_INPUT, Reply
from posthouse.protocol.lines import LineBuffer
from posthouse.protocol.smtp import verbs
from posthouse.protocol.smtp.conversation import Conversation
from posthouse.protocol.smtp.data import ChunkReader, DotReader
from posthouse.protocol.smtp.events import Chunk, Connected, Data, EndOfData, Event, FetchUrl, Reset
from posthouse.protocol.smtp.grammar import Bdat, Burl, Refused, parse_bdat
from posthouse.protocol.smtp.incoming import IncomingLetter
from posthouse.protocol.smtp.limits import Limits
from posthouse.protocol.smtp.verbs import Capabilities


class Intake(Conversation):
    """The transaction of a session, as far as the letter itself is concerned."""

    __slots__ = (
        "_after", "_after_swallowing", "_buffer", "_burl", "_chunk", "_recipient_refused",
        "letter", "recipients", "smtputf8",
    )  # fmt: skip

    def __init__(self, capabilities: Capabilities, limits: Limits) -> None:
        super().__init__(capabilities, limits)
        self._buffer = LineBuffer()
        self._after: Event | None = Connected()
        """The event that follows by itself."""
        self.letter = IncomingLetter(DotReader(), 0)
        """The one that is coming in."""
        self._chunk: Bdat | None = None
        """The first BDAT of a letter, while the driver decides."""
        self._burl: Burl | None = None
        """The BURL in hand."""
        self._after_swallowing: tuple[int, Event | None] = (verbs.READY, None)
        self._recipient_refused = False
        self.smtputf8 = False
        """MAIL of the present transaction had SMTPUTF8."""
        self.recipients = 0
        """Accepted recipients of the present transaction."""

    def _read_letter(self) -> Event | None:
        letter = self.letter
        piece = letter.read(self._buffer)
        if piece is None:
            return None
        if piece:
            return Chunk(piece)
        if letter.refusal is not None:
            return self._refuse_letter(letter.refusal)
        if letter.complete:
            return EndOfData()
        self._state = verbs.CHUNKS
        self._say(OK.saying(f"{letter.received} octets received"))
        return None

    def _refuse_letter(self, refusal: Reply) -> Event | None:
        if self._state == verbs.SWALLOW:
            self._state, told = self._after_swallowing
            self._refuse(refusal)
            return told
        for _ in range(self.recipients if self._capabilities.lmtp else 1):
            self._say(refusal)
        self._errors += 1
        self._end_transaction()
        return Reset(refusal)

    def _end_transaction(self) -> None:
        self._state = verbs.READY
        self.recipients = 0
        self.smtputf8 = False
        self._recipient_refused = False

    def _bdat(self, chunk: Bdat) -> Event | None:
        """RFC 3030 §2: the octets follow the command at once, whatever we think of it."""
        if self._state != verbs.CHUNKS:
            self._chunk = chunk
            return Data(chunked=True)
        self.letter.expect(chunk.size, last=chunk.last)
        self._state = verbs.CHUNK
        return None

    def _from_url(self, burl: Burl) -> Event | None:
        """RFC 4468 §3.2: what a URL names stands in the place of a chunk."""
        self._burl = burl
        return FetchUrl(*burl) if self._state == verbs.CHUNKS else Data(chunked=True)

    def _refuse_bdat(self, argument: bytes, objection: Reply) -> None:
        """BDAT out of place."""
        try:
            size = parse_bdat(argument, False).size
        except Refused as refused:
            self._refuse(refused.reply)
            self.closing = True  # how much follows nobody knows; to go on would obey the letter's own text
            return
        self._swallow(size, objection, then=self._state, told=None)

    def _swallow(self, size: int, refusal: Reply, *, then: int, told: Event | None) -> None:
        """Throw `size` octets away; only then say `refusal`, go to the state `then`, and tell the driver."""
        self.letter = IncomingLetter(ChunkReader(), 0, refusal)
        self.letter.expect(size, last=True)
        self._after_swallowing = then, told
        self._state = verbs.SWALLOW

    def _answer_data(self, decision: Reply | None) -> None:
        chunk, self._chunk = self._chunk, None
        limit = self._capabilities.message_size_limit
        if self._burl is not None:
            if decision is None or decision.code < 400:
                self.letter = IncomingLetter(ChunkReader(), limit)
                self._after = FetchUrl(*self._burl)
            else:
                self._answer_url(decision)
        elif decision is None or decision.code < 400:
            if chunk is not None:
                self.letter = IncomingLetter(ChunkReader(), limit)
                self.letter.expect(chunk.size, last=chunk.last)
                self._state = verbs.CHUNK
            else:
                self._say(decision or START_MAIL_INPUT)
                self.letter = IncomingLetter(DotReader(), limit)
                self._state = verbs.DATA
        elif chunk is not None:
            # The chunks that follow in the pipeline must meet no open transaction (RFC 3030 §2).
            self._end_transaction()
            self._swallow(chunk.size, decision, then=verbs.READY, told=Reset(decision))
        else:
            self._refuse(decision)

    def _answer_url(self, decision: Reply | None) -> None:
        burl, self._burl = self._burl, None
        refusal = decision or self.letter.refusal
        if refusal is not None:
            # RFC 4468 §3.2: the transaction fails as a whole. The driver knows its own refusals.
            self._refuse(refusal)
            self._end_transaction()
            self._after = Reset(None if refusal is decision else refusal)
        elif burl is not None and burl.last:
            self._after = EndOfData()
        else:
            self._state = verbs.CHUNKS
            self._say(Reply(250, "2.5.0", f"{self.letter.received} octets, waiting for more"))

    def _answer_end_of_data(self, decision: Reply | Sequence[Reply] | None) -> None:
        if decision is None:
            decision = LOCAL_ERROR  # nobody took responsibility
        if isinstance(decision, Reply):
            replies: Sequence[Reply] = (decision,) * (self.recipients if self._capabilities.lmtp else 1)
        else:
            replies = decision
        for reply in replies:
            self._say(reply)
        if any(reply.code < 400 for reply in replies):
            self._errors = 0
            self._idle_commands = 0
        else:
            self._errors += not replies[0].enhanced.startswith("4.3.")
        self._end_transaction()
