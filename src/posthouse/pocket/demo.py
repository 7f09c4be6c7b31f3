"""`posthouse demo`: two domains, two servers, DNS and TLS on this machine, and a letter between them.

alice@north.test submits it (port 587, STARTTLS, AUTH), north looks up the MX of south.test and hands it
over, south stores it, and bob@south.test reads it by IMAP. Then both servers tell its journey.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import smtplib
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from posthouse.mail.address import parse_address
from posthouse.mail.compose import message
from posthouse.pocket.internet import PocketInternet
from posthouse.pocket.mailreader import MailReader
from posthouse.pocket.server import PocketServer, Subprocess

ALICE = "alice@north.test"
BOB = "bob@south.test"
DELIVERED_WITHIN = 60.0
"""Seconds for the letter to arrive."""
_TEXT = """\
Dear Bob,

this letter left a mail program by submission, was written down at north.test before anybody
said "250", looked for your server in DNS, travelled there under TLS, and lies in your mailbox.

Alice
"""
_SHOWN = {
    "submission": "submission, STARTTLS",
    "submissions": "submission, TLS",
    "imap": "IMAP, STARTTLS",
    "imaps": "IMAP, TLS",
    "pop3": "POP3, STLS",
    "pop3s": "POP3, TLS",
}


async def demo(*, once: bool, say: Callable[[str], None]) -> None:
    """Run the demo, telling it line by line to `say`; stays until SIGINT or SIGTERM unless `once`.

    Raises RuntimeError where a server does not start, TimeoutError where the letter does not arrive.
    """
    passwords = {name: secrets.token_urlsafe(9) for name in ("alice", "bob")}
    async with PocketInternet() as net:
        say(f"The pocket internet is up: DNS on {net.dns.endpoint}, MX hosts on port {net.smtp_port}.")
        north, south = await asyncio.gather(
            net.add_subprocess("north.test", {"alice": passwords["alice"]}),
            net.add_subprocess("south.test", {"bob": passwords["bob"]}),
        )
        for server in (north, south):
            say(f"{server.hostname} serves {server.domain} on {server.place.address}.")
        began = time.monotonic()
        message_id = await send_letter(north, net.ca.client_context(), say)
        async with asyncio.timeout(DELIVERED_WITHIN):
            letter = await read_letter(south, net.ca.client_context())
        say(f"{BOB} reads it by IMAP {1000 * (time.monotonic() - began):.0f} ms after {ALICE} began to send:")
        say("")
        say(_indented(letter.decode("utf-8", "replace")))
        for server in (north, south):
            say(f"Its journey, as {server.hostname} tells it:")
            say("")
            say(_indented(await journey(server, message_id)))
        if not once:
            _tell_logins((north, south), net, say)
            await _until_told_to_stop()
            say("Stopping.")


async def stay(
    domains: Sequence[str], users: Sequence[str], directory: Path | None, say: Callable[[str], None]
) -> None:
    """A server for each domain, with the same users; stays until SIGINT or SIGTERM. `directory`: absolute.

    Raises RuntimeError where a server does not start.
    """
    async with PocketInternet(directory) as net:
        say(f"The pocket internet is up: DNS on {net.dns.endpoint}, MX hosts on port {net.smtp_port}.")
        servers = await asyncio.gather(
            *(
                net.add_subprocess(domain, {user: secrets.token_urlsafe(9) for user in users})
                for domain in domains
            )
        )
        _tell_logins(servers, net, say)
        await _until_told_to_stop()
        say("Stopping.")


async def send_letter(server: PocketServer, context: ssl.SSLContext, say: Callable[[str], None]) -> str:
    """Submit the letter as Alice does; its Message-ID."""
    message_id = f"{secrets.token_hex(8)}@north.test"
    letter = message(
        sender=("Alice", parse_address(ALICE)),
        to=[("Bob", parse_address(BOB))],
        subject="A letter through the pocket internet",
        text=_TEXT,
        date=time.time(),
        message_id=message_id,
        boundary=secrets.token_hex(16),
    )
    reply = await asyncio.to_thread(
        _submit, server.endpoint("submission"), server.hostname, context, server.users[ALICE], letter
    )
    say(f"{ALICE} submits a letter to {BOB}. {server.hostname} answers: {reply}")
    return f"<{message_id}>"


def _submit(
    endpoint: tuple[str, int], hostname: str, context: ssl.SSLContext, password: str, letter: bytes
) -> str:
    """One session; the reply to the end of data. Raises SMTPException, OSError."""
    with smtplib.SMTP(local_hostname="laptop.north.test", timeout=30) as client:
        client.connect(*endpoint)
        client._host = hostname  # type: ignore[attr-defined]  # the name in the certificate, not the address
        client.starttls(context=context)
        client.login(ALICE, password)
        for code, text in (client.mail(ALICE), client.rcpt(BOB)):
            if code >= 400:
                raise smtplib.SMTPResponseException(code, text)
        code, text = client.data(letter)
        if code >= 400:
            raise smtplib.SMTPDataError(code, text)
        return f"{code} {text.decode('utf-8', 'replace')}"


async def read_letter(server: PocketServer, context: ssl.SSLContext) -> bytes:
    """What Bob finds in his mailbox, as soon as it is there."""
    async with MailReader(server.endpoint("imaps"), context, server.hostname) as reader:
        await reader.log_in(BOB, server.users[BOB])
        return await reader.wait_for_mail()


async def journey(server: PocketServer, message_id: str) -> str:
    """What `posthouse journey` prints. Raises RuntimeError where it fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "posthouse", "journey", message_id, "--config", str(server.config_file),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"posthouse journey failed:\n{output.decode('utf-8', 'replace')}")
    return output.decode("utf-8", "replace").rstrip()


def _tell_logins(servers: Sequence[Subprocess], net: PocketInternet, say: Callable[[str], None]) -> None:
    say("Log in with any mail program:")
    for server in servers:
        for login, password in server.users.items():
            say(f"\n  {login}, password {password}")
            for service, words in _SHOWN.items():
                host, port = server.endpoint(service)
                say(f"    {words:<22} {host} port {port}")
        say(f"    posthouse … --config {server.config_file}")
    say(f"\nTheir certificates are signed by {net.ca.certificate}. Ctrl-C ends it all.")


async def _until_told_to_stop() -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        await stopped.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _indented(text: str) -> str:
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    return "\n".join(f"    {line}".rstrip() for line in lines) + "\n"
