"""Logging in by any mechanism: the same answers however the octets are cut, and no exception."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.mail.reply import AUTH_INVALID
from posthouse.protocol import sasl
from posthouse.protocol.imap import server as imap
from posthouse.protocol.pop3 import server as pop3
from posthouse.protocol.smtp import server as smtp
from posthouse.protocol.smtp.events import Auth
from posthouse.protocol.smtp.limits import Limits
from posthouse.protocol.smtp.verbs import Capabilities

ALL = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "EXTERNAL", "OAUTHBEARER",
       "XOAUTH2", "PLAIN", "LOGIN")  # fmt: skip
CHANNEL = sasl.Channel(True, {"tls-unique": b"x"}.get, binds=True, addresses=("a@b.test",))
SAID = st.sampled_from(
    [b"n,,n=u,r=x", b"y,,n=u,r=x", b"p=tls-unique,,n=u,r=x", b"c=biws,r=xnonce,p=AAAA", b"\x01", b"",
     b"n,a=u,\x01auth=Bearer t\x01\x01", b"user=u\x01auth=Bearer t\x01\x01", b"\0u\0p", b"a\0u\0p", b"u"]
)  # fmt: skip
RESPONSES = st.one_of(
    SAID.map(base64.b64encode),
    st.binary(max_size=20).map(base64.b64encode),
    st.sampled_from([b"*", b"=", b"", b"!", b"\xff", b"x" * 13_000]),
)
TURNS = st.lists(
    st.tuples(st.sampled_from(ALL), st.none() | RESPONSES, st.lists(RESPONSES, max_size=3)), max_size=5
)
KEYS = sasl.Keys(b"salt", 4096, b"k" * 32, b"s" * 32, 1, "nonce")
REFUSED = {"imap": imap.BAD_CREDENTIALS, "pop3": pop3.BAD_CREDENTIALS, "smtp": AUTH_INVALID}
COMMAND = {"imap": b"a AUTHENTICATE ", "pop3": b"AUTH ", "smtp": b"AUTH "}


def session(protocol: str) -> Any:
    core: Any
    if protocol == "imap":
        core = imap.ServerSession("h", mechanisms=ALL, limits=imap.Limits(errors=1000))
    elif protocol == "pop3":
        core = pop3.ServerSession("h", mechanisms=ALL, limits=pop3.Limits(errors=1000))
    else:
        core = smtp.ServerSession(Capabilities("h", auth_mechanisms=ALL), Limits(errors=1000))
    core.tls_started("TLSv1.2 X", CHANNEL)
    if protocol == "smtp":
        core.receive(b"EHLO c.test\r\n")
    return core


def play(protocol: str, octets: bytes, cut: int) -> tuple[bytes, list[str]]:
    """Nobody gets in; what was said, and what was asked."""
    core, said, asked = session(protocol), b"", []
    for start in range(-cut, len(octets), cut):
        core.receive(octets[max(start, 0) : start + cut])
        while (event := core.next_event()) is not None:
            shown = event.shown if isinstance(event, Auth) else event
            answer: Any = None
            if isinstance(shown, sasl.KeysWanted):
                answer = KEYS
            elif isinstance(shown, sasl.Token):
                answer = sasl.Refused(b"{}", REFUSED[protocol])
            elif "Login" in type(shown).__name__ or isinstance(
                shown, sasl.Proof | sasl.Certificate | sasl.Credentials
            ):
                assert not getattr(shown, "right", False)
                answer = REFUSED[protocol]
            asked.append(repr(shown))
            core.answer(answer)
        said += core.take_output()
    return said, asked


@pytest.mark.parametrize("protocol", ["imap", "pop3", "smtp"])
@given(turns=TURNS, cut=st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_no_exchange_depends_on_how_it_is_cut(
    protocol: str, turns: list[tuple[str, bytes | None, list[bytes]]], cut: int
) -> None:
    octets = b""
    for mechanism, initial, responses in turns:
        octets += COMMAND[protocol] + mechanism.encode() + (b"" if initial is None else b" " + initial)
        octets += b"\r\n" + b"".join(response + b"\r\n" for response in responses)
    whole = play(protocol, octets, max(len(octets), 1))
    if len(octets) < 5000:
        assert play(protocol, octets, cut) == whole
