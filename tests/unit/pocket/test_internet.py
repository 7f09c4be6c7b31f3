"""Whole servers on the pocket internet: they find each other by DNS, wait by its clock, and survive."""

from __future__ import annotations

import asyncio
import json
import os
import select
import shutil
import smtplib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
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


async def until_deferred(server: PocketServer) -> None:
    """Until the first attempt is recorded: what the clock does before it would not count."""
    database = server.open_database()
    attempted = "SELECT 1 FROM queue_entry WHERE attempts = 1"
    try:
        while not await database.read(lambda reader: reader.one(attempted)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    finally:
        await database.close()


ELSEWHERE = pytest.mark.parametrize("run", ["uvloop"], indirect=True)
"""The server runs in processes of its own: which loop the test has makes no difference to it."""


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
            await until_deferred(north)
            await net.clock.advance(2 * 4000)
            letter = await south.letter(0)
            assert letter.content.endswith(b"\r\n\r\nHello\r\n")
            assert letter.client == "127.0.0.2"
            assert letter.tls.startswith("TLSv1.")

    run(scene())


@ELSEWHERE
def test_the_clock_of_a_server_in_its_own_processes_can_be_put_forward(run: Callable[..., Any]) -> None:
    async def scene() -> None:
        async with PocketInternet() as net:
            settings = {"outbound": {"connection_cache_time_limit": "0s"}, "workers": 2}
            north = await net.add_subprocess(
                "north.test", {"a": "secret"}, settings=settings, follow_clock=True
            )
            south = await net.add_peer("south.test")
            south.script(greylisting(times=1))
            await asyncio.to_thread(submit, net, north, "a@north.test", "b@south.test")
            await south.until(lambda: bool(south.sessions and south.sessions[0].ended))
            await until_deferred(north)
            await net.clock.advance(2 * 4000)
            letter = await south.letter(0)
            assert letter.content.endswith(b"\r\n\r\nHello\r\n")

    run(scene())


@ELSEWHERE
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


@ELSEWHERE
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


def test_the_servers_of_a_demo_that_was_killed_end_too() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "posthouse", "pocket", "north.test"], stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        lines = iter(command.stdout.readline, "")
        config = Path(next(line for line in lines if "--config" in line).split()[-1])
        supervisor = json.loads((config.parent / "data" / "run" / "listeners.json").read_text())["pid"]
        watched = os.pidfd_open(supervisor)
        try:
            command.kill()
            readable, _, _ = select.select([watched], [], [], 15)
            assert readable, "it still runs"
        finally:
            os.close(watched)
            shutil.rmtree(config.parent.parent)
