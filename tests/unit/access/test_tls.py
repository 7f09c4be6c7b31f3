"""Passwords travel over TLS, or within this machine."""

from __future__ import annotations

import imaplib
import poplib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from posthouse.access.imap.session import imap_session
from posthouse.access.pop3.session import pop3_session
from posthouse.net.limits import is_this_machine
from posthouse.net.listener import Listener, drain
from tests.unit.access.conftest import Server, serving


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def server(tmp_path: Path, database_url: str, authority: trustme.CA) -> AsyncIterator[Server]:
    """A server that offers TLS in place (`imap_port`, `pop3_port`) and from the start (`imaps`, `pop3s`)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with serving(tmp_path, database_url) as running:
        listeners = []
        for protocol, make, implicit in (
            ("imap", imap_session, False),
            ("pop3", pop3_session, False),
            ("imaps", imap_session, True),
            ("pop3s", pop3_session, True),
        ):
            listening = socket.create_server(("127.0.0.1", 0))
            listener = Listener(
                protocol,
                [listening],
                lambda make=make: make(running.services, tls_available=True),  # type: ignore[misc]
                tls=lambda: context,
                implicit_tls=implicit,
            )
            await listener.start()
            listeners.append(listener)
            running.ports[protocol] = listening.getsockname()[1]
        yield running
        await drain(listeners, 1.0)


async def test_starttls_and_imaps(server: Server, authority: trustme.CA) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def session() -> None:
        client = imaplib.IMAP4("localhost", server.ports["imap"], timeout=20)
        assert "STARTTLS" in client.capabilities
        client.starttls(trusting)
        assert "STARTTLS" not in client.capabilities
        assert "AUTH=PLAIN" in client.capabilities
        client.authenticate("PLAIN", lambda challenge: b"\0bob\0secret")
        assert client.select()[0] == "OK"
        client.logout()
        direct = imaplib.IMAP4_SSL("localhost", server.ports["imaps"], ssl_context=trusting, timeout=20)
        direct.login("bob", "secret")
        direct.logout()

    await server.run(session)


async def test_stls_and_pop3s(server: Server, authority: trustme.CA) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def session() -> None:
        client = poplib.POP3("localhost", server.ports["pop3"], timeout=20)
        assert "STLS" in client.capa()
        client.stls(trusting)
        assert "STLS" not in client.capa()
        client.user("bob")
        assert client.pass_("secret").startswith(b"+OK")
        client.quit()
        direct = poplib.POP3_SSL("localhost", server.ports["pop3s"], context=trusting, timeout=20)
        direct.user("bob")
        direct.pass_("secret")
        direct.quit()

    await server.run(session)


@pytest.mark.parametrize(
    ("address", "ours"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("local", True),
        ("192.0.2.1", False),
        ("", False),
    ],
)
def test_only_this_machine_may_log_in_without_tls(address: str, ours: bool) -> None:
    assert is_this_machine(address) is ours
