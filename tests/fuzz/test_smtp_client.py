"""The client's session under random servers: no exception, a reply for every recipient, bounded memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.mail.address import Address
from posthouse.mail.envelope import Recipient, Sender
from posthouse.protocol.sasl import Credentials
from posthouse.protocol.smtp.client import ClientSession, Lost, Ready, WantsContent
from posthouse.protocol.smtp.outgoing import Finished, Transaction
from posthouse.protocol.smtp.replies import LINE_LIMIT, REPLY_LIMIT

REPLIES = st.sampled_from(
    [
        b"220 mx\r\n", b"250 ok\r\n", b"250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n", b"354 go\r\n",
        b"250-mx\r\n250-CHUNKING\r\n250-AUTH PLAIN LOGIN\r\n250 PIPELINING\r\n", b"250-mx\r\n250 SIZE 3\r\n",
        b"334 \r\n", b"334 !\r\n", b"235 in\r\n", b"421 bye\r\n",
        b"450 4.7.1 later\r\n", b"550 5.1.1 no\r\n",
        b"550-5.1.1 no\r\n", b"503 what\n", b"x\r\n", b"250\r\n", b"299 ok\r\n", b"300 odd\r\n",
        b"999 odd\r\n",
        b"250-" + b"x" * 4000 + b"\r\n", b"250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 DSN\r\n",
    ]
)  # fmt: skip
SCRIPTS = st.lists(st.one_of(REPLIES, REPLIES, REPLIES, st.binary(max_size=30)), max_size=40)
FRIENDLY = [b"220 mx\r\n", b"250-mx\r\n250 PIPELINING\r\n"]
TO = Recipient(Address("bob", "example.org"))


@settings(max_examples=1500, deadline=None)
@given(SCRIPTS, st.integers(1, 3), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_every_recipient_gets_one_reply(
    script: list[bytes], count: int, lmtp: bool, login: bool, in_memory: bool, friendly: bool
) -> None:
    credentials = Credentials("alice", "secret") if login else None
    session = ClientSession("client.example", lambda: 0.0, lmtp=lmtp, level="none", credentials=credentials)
    text = b"Subject: x\r\n\r\ny\r\n"
    letter = Transaction(Sender(None), (TO,) * count, len(text), text if in_memory else None)
    begun = finished = 0

    def follow() -> None:
        nonlocal begun, finished
        while (event := session.next_event()) is not None:
            match event:
                case Ready():
                    session.send(letter)
                    begun += 1
                case WantsContent():
                    session.write(text)
                    session.finish()
                case Finished(replies):
                    finished += 1
                    assert len(replies) == count
                    assert all(not 300 <= reply.code < 400 for reply in replies)
                    if session.idle and begun < 20:  # one that needs no reply would begin for ever
                        session.send(letter)
                        begun += 1
                case Lost(reply):
                    assert reply.code >= 400
                    assert session.closing
        session.take_output()

    for octets in (FRIENDLY if friendly else []) + script:
        session.receive(octets)
        follow()
        assert len(session._answers) <= LINE_LIMIT + REPLY_LIMIT + 5000
    session.connection_lost()
    follow()
    assert session.closing
    assert finished == begun
    assert not any("secret" in line.text.replace("[secret]", "") for line in session.take_dialogue())
