"""Who does not log in has to go, however busy he keeps us; who has logged in may stay."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from pathlib import Path

import pytest

from tests.servers import DOMAIN, PASSWORD, PATIENCE, InProcess, dialogue

LISTENERS = ("imap", "pop3", "submission")
PLAIN = base64.b64encode(f"\0alice@{DOMAIN}\0{PASSWORD}".encode()).decode()


@pytest.mark.parametrize(
    ("listener", "command", "login", "later", "farewell"),
    [
        ("imap", "a NOOP", [f'b LOGIN alice@{DOMAIN} "{PASSWORD}"'], "c NOOP", b"* BYE "),
        ("pop3", "USER alice", [f"USER alice@{DOMAIN}", f"PASS {PASSWORD}"], "NOOP", b""),
        ("submission", "HELO client.test", ["EHLO client.test", f"AUTH PLAIN {PLAIN}"], "NOOP", b"421 "),
    ],
)
async def test_a_client_that_never_logs_in_is_sent_away(
    tmp_path: Path, listener: str, command: str, login: list[str], later: str, farewell: bytes
) -> None:
    settings = {"accounts": {"login_timeout": "1s"}}
    async with InProcess(tmp_path, settings, listeners=LISTENERS) as world:
        address = world.address(listener)
        async with dialogue(address) as known, dialogue(address) as unknown, asyncio.timeout(PATIENCE):
            # given a client that logs in, and one that gives commands that anybody may give
            await known.reply()
            for line in login:
                await known.command(line)
            last = b""
            with suppress(ConnectionError):  # a command may cross the farewell
                # when each answer puts off the deadline of silence
                while line := await unknown.reader.readline():
                    last = line
                    await unknown.raw(command.encode() + b"\r\n")
                # then he is sent away
                assert last.startswith(farewell)
            # and the other is not
            assert "OK" in (await known.command(later)).upper()
