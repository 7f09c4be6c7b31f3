"""Whole servers on the pocket internet: they find each other by DNS, wait by its clock, and survive."""

from __future__ import annotations

import asyncio
import smtplib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from posthouse.pocket.faults import greylisting
from posthouse.pocket.internet import PocketInternet
from posthouse.pocket.mailreader import ImapRefused, MailReader
from posthouse.pocket.server import PocketServer

LETTER = b"From: a@north.test\r\nTo: b@south.test\r\nSubject: hello\r\n\r\nHello\r\n"


def submit(net: PocketInternet, server: PocketServer, login: str, recipient: str) -> None:
    with smtplib.SMTP(local_hostname="laptop.test", timeout=10) as client:
        client.connect(*server.endpoint("submission"))
        client._host = server.hostname  # type: ignore[attr-defined]  # the name to verify
        client.starttls(context=net.ca.client_context())
        client.login(login, server.users[login])
        client.sendmail(login, [recipient], LETTER)


async def read(net: PocketInternet, server: PocketServer, login: str) -> bytes:
    endpoint = server.endpoint("imaps")
    async with MailReader(endpoint, net.ca.client_context(), server.hostname) as reader:
        await reader.log_in(login, server.users[login])
        return await reader.wait_for_mail()


def test_a_letter_goes_from_one_server_to_another(run: Callable[..., Any]) -> None:
    async def scene() -> None:
        async with PocketInternet() as net:
            north = await net.add_server("north.test", {"a": "secret"})
            south = await net.add_server("south.test", {"b": "other"})
            reading = asyncio.ensure_future(read(net, south, "b@south.test"))
            await asyncio.to_thread(submit, net, north, "a@north.test", "b@south.test")
            letter = await reading
            assert letter.endswith(b"Subject: hello\r\n\r\nHello\r\n") or b"\r\n\r\nHello\r\n" in letter
            assert b"from mail.north.test ([127.0.0.2])" in letter
            assert net.dns.asked("south.test", "MX") == 1
            south.users["b@south.test"] = "wrong"
            with pytest.raises(ImapRefused):
                await read(net, south, "b@south.test")

    run(scene())


def test_a_greylisted_letter_goes_when_the_clock_says_so(run: Callable[..., Any]) -> None:
    async def scene() -> None:
        async with PocketInternet() as net:
            at_once = {"outbound": {"connection_cache_time_limit": "0s"}}
            north = await net.add_server("north.test", {"a": "secret"}, settings=at_once)
            south = await net.add_peer("south.test")
            south.script(greylisting(times=1))
            await asyncio.to_thread(submit, net, north, "a@north.test", "b@south.test")
            await south.until(lambda: bool(south.sessions and south.sessions[0].ended))
            assert south.letters == []
            await net.clock.advance(2 * 4000)
            letter = await south.letter(0)
            assert letter.content.endswith(b"\r\n\r\nHello\r\n")
            assert letter.client == "127.0.0.2"
            assert letter.tls.startswith("TLSv1.")

    run(scene())


def test_a_server_in_its_own_processes_serves_again_after_kill_9(run: Callable[..., Any]) -> None:
    async def scene() -> None:
        async with PocketInternet() as net:
            north = await net.add_subprocess("north.test", {"a": "secret", "c": "third"})
            before = north.endpoint("submission")
            await asyncio.to_thread(submit, net, north, "a@north.test", "c@north.test")
            assert await north.kill() == -9
            with pytest.raises(ConnectionRefusedError):
                await asyncio.to_thread(submit, net, north, "a@north.test", "c@north.test")
            await north.start()
            assert north.endpoint("submission") == before
            assert b"\r\n\r\nHello\r\n" in await read(net, north, "c@north.test")
            assert await north.stop() == 0

    run(scene())


def test_a_server_that_cannot_start_shows_its_log(run: Callable[..., Any]) -> None:
    async def scene() -> None:
        async with PocketInternet() as net:
            broken = {"listen": {"imap": ["192.0.2.1:143"]}}
            with pytest.raises(RuntimeError, match=r"192\.0\.2\.1"):
                await net.add_subprocess("north.test", settings=broken)

    run(scene())


def test_the_demo_sends_a_letter_and_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "posthouse", "demo", "--once"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "bob@south.test reads it by IMAP" in done.stdout
    assert "Dear Bob," in done.stdout
    assert done.stdout.count("Its journey, as ") == 2
