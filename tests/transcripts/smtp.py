"""SMTP and LMTP dialogues as files, and the desk at which a pretended server decides.

A file has a line `? option option …` (lmtp, tls, auth, starttls, submission, mechanisms, burl, limits), then
`C: line` for what the client says, `C| octets` for bare octets (\\r, \\n, \\x00 stand for what they say;
nothing is added), and `S: line` for what the server answers. `#` begins a comment.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from posthouse.mail import reply as replies
from posthouse.mail.reply import Reply, queued_as
from posthouse.protocol.sasl import (
    Certificate,
    Channel,
    Credentials,
    Keys,
    KeysWanted,
    Proof,
    Refused,
    Shown,
    Token,
    make_keys,
)
from posthouse.protocol.smtp.events import (
    Auth,
    Chunk,
    Connected,
    EndOfData,
    Event,
    Expn,
    FetchUrl,
    Mail,
    Rcpt,
    Reset,
    Vrfy,
)
from posthouse.protocol.smtp.limits import Limits
from posthouse.protocol.smtp.server import ServerSession
from posthouse.protocol.smtp.verbs import Capabilities

FOLDER = Path(__file__).parent


class Turn(NamedTuple):
    """The client says something and gets an answer, maybe none."""

    said: bytes
    answer: str


class Transcript(NamedTuple):
    options: frozenset[str]
    turns: tuple[Turn, ...]

    @property
    def said(self) -> bytes:
        return b"".join(turn.said for turn in self.turns)

    @property
    def answer(self) -> str:
        return "".join(turn.answer for turn in self.turns)


def read(path: Path) -> Transcript:
    options: frozenset[str] = frozenset()
    turns: list[Turn] = []
    said, answer = b"", ""
    for line in path.read_text().splitlines():
        kind, text = line[:2], line[3:]
        if kind == "? ":
            options = frozenset(line[2:].split())
        elif kind == "S:":
            answer += f"{text}\r\n"
        elif kind in ("C:", "C|"):
            if answer:
                turns.append(Turn(said, answer))
                said, answer = b"", ""
            said += _octets(kind, text)
        else:
            assert not line or line[0] == "#", f"{path.name}: {line}"
    turns.append(Turn(said, answer))
    return Transcript(options, tuple(turns))


def _octets(kind: str, text: str) -> bytes:
    if kind == "C|":
        return text.encode().decode("unicode_escape").encode("latin-1")
    return text.encode() + b"\r\n"


class Desk:
    """Decides events in a way that the dialogues' writer knows; keeps what it was told.

    Recipients and senders named busy, full, gone, forward, moved are answered so. Letters whose text has
    `reject` or `defer` in it are refused at their end. alice's password is `secret`.
    """

    def __init__(self, session: ServerSession, *, lmtp: bool = False, open_for_business: bool = True) -> None:
        self.session = session
        self.events: list[Event] = []
        self.letters: list[bytes] = []
        self._lmtp = lmtp
        self._open = open_for_business
        self._text = b""

    def answer(self) -> bytes:
        """Handle all that there is; gives the octets for the client."""
        session = self.session
        while (event := session.next_event()) is not None:
            session.answer(self.decide(event))
        return session.take_output()

    def decide(self, event: Event) -> Reply | list[Reply] | Keys | Refused | None:
        """The answer to one event."""
        self.events.append(event)
        match event:
            case Connected() if not self._open:
                return replies.Reply(554, "", "mx.example.org takes no mail from you")
            case Chunk(data):
                self._text += data
                return None
            case Reset():
                self._text = b""
            case FetchUrl(url, last):
                return self._fetch(url, last)
            case EndOfData():
                return self._accept()
            case Mail(sender) if sender.address is not None:
                return _BY_NAME.get(sender.address.local)
            case Rcpt(recipient):
                return _BY_NAME.get(recipient.address.local)
            case KeysWanted():
                salt = b"salt of the sea"
                return Keys(salt, 4096, *make_keys(b"pencil", salt, 4096, "sha256"), 7, "nonce")
            case Auth(_, Token()):
                return Refused(b'{"status":"invalid_token"}', replies.AUTH_INVALID)
            case Auth(_, shown):
                return replies.AUTHENTICATED if _known(shown) else replies.AUTH_INVALID
            case Vrfy("bob"):
                return Reply(250, "2.1.5", "<bob@example.org>")
            case Expn("team"):
                return Reply(250, "2.1.5", "<bob@example.org>\n<eve@example.org>")
            case Expn():
                return replies.NO_SUCH_USER
        return None

    def _fetch(self, url: str, last: bool) -> Reply | None:
        octets = _BY_URL.get(url)
        if octets is None:
            return replies.URL_NOT_RESOLVED
        letter = self.session.letter
        letter.expect(len(octets), last=last)
        if letter.refusal is None:
            pieces = [octets[place : place + 3] for place in range(0, len(octets), 3)]
            self._text += b"".join([letter.take(piece) for piece in (*pieces, b"")])
        return None

    def _accept(self) -> Reply | list[Reply]:
        text, self._text = self._text, b""
        if b"reject" in text:
            return replies.TRANSACTION_FAILED
        if b"defer" in text:
            return replies.LOCAL_ERROR
        self.letters.append(text)
        accepted = queued_as(f"id{len(self.letters)}")
        if not self._lmtp:
            return accepted
        rest = [replies.MAILBOX_FULL] * (self.session.recipients - 1)
        return [accepted, *rest]


def _known(shown: Shown) -> bool:
    """alice's password is `secret`, bob's is `pencil`, and he has a certificate."""
    if isinstance(shown, Certificate):
        return shown.identity in ("", *shown.addresses)
    if isinstance(shown, Proof):
        return shown.right
    return shown == Credentials("alice", "secret")


_BY_URL = {
    "imap://h/hello": b"Subject: x\r\n\r\nhello\r\n",
    "imap://h/half": b"half a line\r",
    "imap://h/none": b"",
    "imap://h/bare": b"a\nb",
    "imap://h/large": b"x" * 990,
}
_BY_NAME = {
    "busy": replies.MAILBOX_BUSY,
    "full": replies.MAILBOX_FULL_FOR_NOW,
    "gone": replies.NO_SUCH_USER,
    "forward": replies.RECIPIENT_WILL_FORWARD,
    "moved": replies.USER_HAS_MOVED,
    "odd": replies.MAILBOX_NAME_NOT_ALLOWED,
}


def _mechanisms(options: frozenset[str]) -> tuple[str, ...]:
    if "mechanisms" in options:
        return ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "EXTERNAL", "OAUTHBEARER", "XOAUTH2")
    return ("PLAIN", "LOGIN") if "auth" in options or "submission" in options else ()


def open_desk(options: frozenset[str]) -> Desk:
    """A session as the options of a dialogue want it."""
    lmtp = "lmtp" in options
    capabilities = Capabilities(
        "mx.example.org",
        lmtp=lmtp,
        starttls="starttls" in options,
        tls_required="tls_required" in options,
        auth_mechanisms=_mechanisms(options),
        auth_without_tls="auth" in options,
        auth_required="submission" in options,
        burl="burl" in options,
        message_size_limit=1000,
    )
    limits = Limits(recipients=2, errors=4, idle_commands=6) if "limits" in options else Limits(errors=100)
    session = ServerSession(capabilities, limits, tls="TLSv1.3 X" if "tls" in options else "")
    if "mechanisms" in options:
        binding = {"tls-server-end-point": b"certificate"}.get
        session.tls_started("TLSv1.3 X", Channel(True, binding, binds=True, addresses=("bob@example.org",)))
    return Desk(session, lmtp=lmtp, open_for_business="refused" not in options)


def play(transcript: Transcript, pieces: Iterator[bytes]) -> tuple[str, list[Event], list[bytes]]:
    """Feed pieces to a new session; gives its answers, the events but for chunks, and the letters."""
    desk = open_desk(transcript.options)
    output = desk.answer()
    for piece in pieces:
        desk.session.receive(piece)
        output += desk.answer()
    events = [event for event in desk.events if not isinstance(event, Chunk)]
    return output.decode(), events, desk.letters
