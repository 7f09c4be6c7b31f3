"""A full disk: 452 for what does not fit, nothing spoilt, and all goes on when there is room again."""

from __future__ import annotations

import os
import re
import smtplib
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import only_sqlite
from tests.servers import InProcess, ServeProcess, database_file

pytestmark = only_sqlite

SMALL = 20_000
LARGE = 300_000
"""Octets: beyond what is stored in the database itself."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of 6 MB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    if os.geteuid() != 0 or _mount(directory, "size=6m") != 0:
        pytest.skip("only root can mount a small file system")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def _mount(directory: Path, options: str) -> int:
    command = ["mount", "-t", "tmpfs", "-o", options, "posthouse-test", str(directory)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def _letter(name: str, size: int) -> bytes:
    return f"Subject: {name}\r\n\r\n".encode() + b"z" * 76 + (b"\r\n" + b"z" * 76) * (size // 78) + b"\r\n"


def _send(client: smtplib.SMTP, name: str, size: int) -> tuple[int, bytes]:
    """The last reply to a letter, in whichever command it came."""
    for command in ("MAIL FROM:<sender@east.test>", "RCPT TO:<alice@north.test>"):
        code, text = client.docmd(command)
        if code != 250:
            client.rset()
            return code, text
    return client.data(_letter(name, size))


def _there(server: ServeProcess) -> Counter[str]:
    with server.imap("alice") as client:
        client.select("INBOX", readonly=True)
        _, answer = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        texts = [part[1] for part in answer if isinstance(part, tuple)]
    return Counter(re.findall(rb"Subject: (\S+)", text)[0].decode() for text in texts)


def test_a_full_disk_is_answered_with_452_and_spoils_nothing(small_disk: Path) -> None:
    """Given a disk that fills, then 452; when it has room again, then mail flows; no promise is broken."""
    promised: list[str] = []
    refused: dict[str, tuple[int, bytes]] = {}
    with ServeProcess(small_disk, {"workers": 1}) as server:
        with server.smtp() as client:
            client.ehlo()
            for number in range(400):
                name, size = f"letter-{number}", LARGE if number % 5 == 4 else SMALL
                code, text = _send(client, name, size)
                if code == 250:
                    promised.append(name)
                else:
                    refused[name] = (code, text)
                if len(refused) >= 20:
                    break
            assert len(refused) >= 20, "the disk never filled"
            assert promised
            assert {code for code, _ in refused.values()} == {452}, refused
            assert all(text.startswith(b"4.3.1 ") for _, text in refused.values()), refused
            assert client.noop()[0] == 250

        # Reading goes on, and what was promised is there while the disk is full.
        assert _there(server) == Counter(promised)

        assert _mount(small_disk, "remount,size=60m") == 0
        with server.smtp() as client:
            client.ehlo()
            for size in (SMALL, LARGE):
                assert _send(client, f"later-{size}", size)[0] == 250
                promised.append(f"later-{size}")
        assert _there(server) == Counter(promised)
        assert server.rows("PRAGMA integrity_check") == [("ok",)]
        assert server.rows("SELECT count(*) FROM content") == [(len(promised),)]
        named = {name for (name,) in server.rows("SELECT blob FROM content WHERE blob IS NOT NULL")}
        blobs = server.config.data_directory / "blobs"
        kept = [path for path in blobs.rglob("*") if path.is_file()]
        assert len(kept) == len(named), "a refused letter left a file behind"


async def test_a_database_that_may_not_grow_is_answered_with_452(tmp_path: Path) -> None:
    """The same by SQLite's own limit of pages, on a machine where no small file system can be had."""
    letter = _letter("large", SMALL)
    async with InProcess(tmp_path) as world:
        await world.send("sender@east.test", ["alice@north.test"], letter)

        async def limit(pages: int) -> None:
            await world.database.write([], lambda tx: tx.one(f"PRAGMA max_page_count = {pages}"))

        size = database_file(world.config).stat().st_size
        await limit(size // 4096 + 10)
        replies: list[str] = []
        async with world.client() as client:
            while not replies or replies[-1].startswith("250"):
                await client.envelope("sender@east.test", ["alice@north.test"])
                replies += await client.content(letter)
                assert len(replies) < 50
            assert replies[-1].startswith("452 4.3.1 ")
            await limit(1_000_000)
            await client.envelope("sender@east.test", ["alice@north.test"])
            replies += await client.content(letter)
        assert replies[-1].startswith("250 ")
        accepted = sum(reply.startswith("250") for reply in replies)
        assert len(await world.mailbox("alice")) == 1 + accepted
        assert await world.rows("PRAGMA integrity_check") == [("ok",)]
