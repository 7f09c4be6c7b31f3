"""The server's session under random octets: no exception, bounded memory, same replies however they come."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.mail.reply import AUTHENTICATED, RELAY_DENIED, URL_NOT_RESOLVED, queued_as
from posthouse.protocol.smtp.data import PIECE
from posthouse.protocol.smtp.events import Auth, Chunk, EndOfData, FetchUrl, Mail, Rcpt, Reset, StartTls
from posthouse.protocol.smtp.limits import Limits
from posthouse.protocol.smtp.server import ServerSession
from posthouse.protocol.smtp.verbs import Capabilities

LIMIT = 3000

WORDS = st.sampled_from(
    [
        b"EHLO c.example", b"HELO c.example", b"LHLO c.example", b"MAIL FROM:<a@b.example>", b"MAIL FROM:<>",
        b"MAIL FROM:<a@b.example> SIZE=999999", b"MAIL FROM:<a@b.example> BODY=8BITMIME SMTPUTF8 RET=HDRS",
        b"RCPT TO:<c@d.example>", b"RCPT TO:<refused@d.example>", b"RCPT TO:<@x,@y:c@d.example>",
        b"RCPT TO:<c@d.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+2Bd@e", b"DATA", b".", b"..", b"BDAT 5",
        b"BDAT 0 LAST", b"BDAT 7 LAST", b"BDAT 99999", b"BDAT x", b"BURL imap://h/x",
        b"BURL imap://h/x LAST", b"BURL imap://h/none", b"BURL x y z", b"12345", b"RSET", b"NOOP", b"QUIT",
        b"VRFY c",
        b"EXPN l", b"HELP", b"HELP MAIL", b"HELP STATUS", b"AUTH PLAIN", b"AUTH PLAIN AGEAYg==",
        b"AUTH LOGIN",
        b"YQ==", b"*", b"STARTTLS", b"Subject: x", b"", b"x" * 600, b"x" * 12300,
        "RCPT TO:<é@d.example>".encode(),
    ]
)  # fmt: skip
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"", b"\0\r\n"])
GROUPS = st.sampled_from(
    [
        b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n",
        b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@d.example>\r\nDATA\r\n",
        b"LHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n",
        b"\r\n.\r\n",
    ]
)
LINES = st.lists(
    st.one_of(st.tuples(WORDS, ENDS).map(b"".join), st.binary(max_size=40), GROUPS), max_size=40
).map(b"".join)


def converse(octets: bytes, cut: int, *, lmtp: bool = False) -> tuple[bytes, list[object]]:
    """Play a whole session, `cut` octets at a time; gives the replies, and the events with chunks joined."""
    session = ServerSession(
        Capabilities(
            "mx.example", lmtp=lmtp, starttls=True, auth_mechanisms=("PLAIN", "LOGIN"), auth_without_tls=True,
            burl=not lmtp, message_size_limit=LIMIT,
        ),
        Limits(recipients=3, errors=8, idle_commands=10),
    )  # fmt: skip
    replies, events = b"", []

    def decide() -> bytes:
        while (event := session.next_event()) is not None:
            if type(event) is Chunk:
                events.append(event)
                continue
            events.append(event)
            match event:
                case EndOfData():
                    session.answer([queued_as("id")] * session.recipients if lmtp else queued_as("id"))
                case FetchUrl("imap://h/x", last):
                    session.letter.expect(7, last=last)
                    kept = [session.letter.take(piece) for piece in (b"abc\r", b"\nde", b"")]
                    events.extend(Chunk(piece) for piece in kept if piece)
                    session.answer(None)
                case FetchUrl():
                    session.answer(URL_NOT_RESOLVED)
                case Auth():
                    session.answer(AUTHENTICATED)
                case Rcpt(recipient) if recipient.address.local == "refused":
                    session.answer(RELAY_DENIED)
                case _:
                    session.answer(None)
        return session.take_output()

    replies += decide()
    for start in range(0, len(octets), cut):
        session.receive(octets[start : start + cut])
        replies += decide()
        assert len(session._buffer) <= PIECE + cut
        if session.wants_tls or session.closing:
            break
    session.receive_eof()
    replies += decide()
    assert session.closing or session.wants_tls
    return replies, joined(events)


def joined(events: list[object]) -> list[object]:
    """Events with adjacent chunks made one; of a refused letter the pieces that came before do not count."""
    result: list[object] = []
    for event in events:
        if type(event) is Chunk and result and type(result[-1]) is Chunk:
            result[-1] = Chunk(result[-1].data + event.data)
        elif type(event) is Reset and result and type(result[-1]) is Chunk:
            result[-1] = event
        else:
            result.append(event)
    if result and type(result[-1]) is Chunk:
        result.pop()
    return result


@settings(max_examples=3400, deadline=None)
@given(LINES, st.integers(1, 50), st.booleans())
def test_replies_do_not_depend_on_how_octets_are_cut(octets: bytes, cut: int, lmtp: bool) -> None:
    whole = converse(octets, max(1, len(octets)), lmtp=lmtp)
    assert converse(octets, cut, lmtp=lmtp) == whole
    assert converse(octets, 1, lmtp=lmtp) == whole


@settings(max_examples=500, deadline=None)
@given(LINES)
def test_every_mail_transaction_keeps_the_order_of_events(octets: bytes) -> None:
    _, events = converse(octets, max(1, len(octets)))
    recipients = None
    for event in events:
        match event:
            case Mail():
                assert recipients is None
                recipients = 0
            case Rcpt(recipient) if recipient.address.local != "refused":
                assert recipients is not None
                assert recipients < 3
                recipients += 1
            case EndOfData():
                assert recipients
                recipients = None
            case Reset() | StartTls():
                recipients = None
