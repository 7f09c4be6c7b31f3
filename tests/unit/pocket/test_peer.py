"""Other people's servers: they take mail as any server does, and fail exactly where the script says."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from posthouse.pocket.ca import PocketCa
from posthouse.pocket.faults import Answer, BadTls, Break, Drop, Hang, Step, greylisting
from posthouse.pocket.peer import ScriptedPeer

LETTER = b"Subject: hello\r\n\r\n.a line that begins with a dot\r\n"


@contextlib.asynccontextmanager
async def serving(peer: ScriptedPeer) -> AsyncIterator[ScriptedPeer]:
    await peer.start()
    try:
        yield peer
    finally:
        await peer.close()


def send(peer: ScriptedPeer, starttls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None,
         timeout: float = 5.0) -> None:  # fmt: skip
    """What smtplib makes of the peer; its exceptions tell."""
    client = smtplib.SMTP(local_hostname="client.test", timeout=timeout)
    try:
        code, text = client.connect(peer.address, peer.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, text)
        client._host = peer.hostname  # type: ignore[attr-defined]  # the name to verify
        client.ehlo_or_helo_if_needed()
        if starttls is not None:
            client.starttls(context=starttls)
        if login is not None:
            client.login(*login)
        client.sendmail("a@north.test", ["b@south.test"], LETTER)
        client.quit()
    finally:
        client.close()


async def attempt(peer: ScriptedPeer, *arguments: Any, **options: Any) -> Exception | None:
    try:
        await asyncio.to_thread(send, peer, *arguments, **options)
    except (OSError, smtplib.SMTPException) as error:
        return error
    return None


def test_a_letter_is_kept_as_it_came(run: Callable[..., Any]) -> None:
    async def scene() -> None:
        async with serving(ScriptedPeer("mx.south.test")) as peer:
            assert await attempt(peer) is None
            letter = await peer.letter(0)
            assert letter.content == LETTER
            assert str(letter.sender.address) == "a@north.test"
            assert [str(recipient.address) for recipient in letter.recipients] == ["b@south.test"]
            assert (letter.helo, letter.tls, letter.client) == ("client.test", "", "127.0.0.1")

    run(scene())


def test_greylisting_ends_after_so_many_times(run: Callable[..., Any]) -> None:
    async def scene() -> None:
        async with serving(ScriptedPeer("mx.south.test")) as peer:
            peer.script(greylisting(times=2))
            for _ in range(2):
                error = await attempt(peer)
                assert isinstance(error, smtplib.SMTPRecipientsRefused)
                assert error.recipients["b@south.test"][0] == 451
            assert await attempt(peer) is None
            assert len(peer.letters) == 1

    run(scene())


REPLIES = [Step.CONNECT, Step.HELO, Step.MAIL, Step.RCPT, Step.DATA, Step.END_OF_DATA]


@pytest.mark.parametrize("step", REPLIES)
def test_any_reply_may_be_a_no(run: Callable[..., Any], step: Step) -> None:
    async def scene() -> None:
        async with serving(ScriptedPeer("mx.south.test")) as peer:
            peer.script(Answer(step, "554 5.7.1 Not you"))
            error = await attempt(peer)
            assert isinstance(error, smtplib.SMTPException)
            assert "Not you" in str(error)
            assert peer.letters == []

    run(scene())


@pytest.mark.parametrize("kind", [Drop, Break])
@pytest.mark.parametrize("step", [*REPLIES, Step.GREETED, Step.CONTENT, Step.ACCEPTED])
def test_the_connection_may_end_anywhere(run: Callable[..., Any], step: Step, kind: Any) -> None:
    async def scene() -> None:
        async with serving(ScriptedPeer("mx.south.test")) as peer:
            peer.script(kind(step, times=1))
            assert await attempt(peer) is not None
            taken = 1 if step in (Step.END_OF_DATA, Step.ACCEPTED) else 0
            await peer.until(lambda: bool(peer.sessions[0].ended))
            assert (len(peer.letters), peer.came_to(step)) == (taken, 1)
            assert await attempt(peer) is None
            assert len(peer.letters) == taken + 1

    run(scene())


def test_a_peer_may_hang(run: Callable[..., Any]) -> None:
    async def scene() -> None:
        async with serving(ScriptedPeer("mx.south.test")) as peer:
            peer.script(Hang(Step.MAIL))
            assert isinstance(await attempt(peer, timeout=0.2), TimeoutError | smtplib.SMTPServerDisconnected)
            peer.script(Hang(Step.MAIL, seconds=0.05))
            assert await attempt(peer) is None

    run(scene())


def test_a_peer_may_write_octet_by_octet(run: Callable[..., Any]) -> None:
    async def scene() -> None:
        async with serving(ScriptedPeer("mx.south.test", pace=0.0002)) as peer:
            assert await attempt(peer) is None
            assert len(peer.letters) == 1

    run(scene())


def test_a_peer_may_be_away_and_come_back(run: Callable[..., Any]) -> None:
    async def scene() -> None:
        async with serving(ScriptedPeer("mx.south.test")) as peer:
            peer.refuse()
            assert isinstance(await attempt(peer), ConnectionRefusedError)
            await peer.start()
            assert await attempt(peer) is None

    run(scene())


def test_starttls_and_a_login(run: Callable[..., Any], tmp_path: Path) -> None:
    async def scene() -> None:
        ca = PocketCa(tmp_path)
        async with serving(ScriptedPeer("mx.south.test", ca=ca, users={"me": "secret"})) as peer:
            assert await attempt(peer, ca.client_context(), ("me", "secret")) is None
            letter = await peer.letter(0)
            assert letter.tls.startswith("TLSv1.")
            assert letter.user == "me"
            wrong = await attempt(peer, ca.client_context(), ("me", "wrong"))
            assert isinstance(wrong, smtplib.SMTPAuthenticationError)
            assert isinstance(await attempt(peer, ca.client_context()), smtplib.SMTPSenderRefused)

    run(scene())


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (BadTls.EXPIRED, "expired"),
        (BadTls.WRONG_NAME, "Hostname mismatch"),
        (BadTls.STRANGE, "self-signed"),
        (BadTls.NO_HANDSHAKE, ""),
    ],
)
def test_bad_tls_is_bad_in_its_own_way(
    run: Callable[..., Any], tmp_path: Path, fault: BadTls, text: str
) -> None:
    async def scene() -> None:
        ca = PocketCa(tmp_path)
        async with serving(ScriptedPeer("mx.south.test", ca=ca, bad_tls=fault)) as peer:
            error = await attempt(peer, ca.client_context())
            assert isinstance(error, ssl.SSLError)
            assert text in str(error)
            assert peer.letters == []

    run(scene())
