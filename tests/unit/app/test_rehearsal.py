"""Before its first client a worker rehearses a session; nobody depends on how that goes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from posthouse.access.services import Services
from posthouse.app import doors
from tests.servers import PATIENCE, InProcess


async def greeting(server: InProcess, listener: str) -> bytes:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*server.address(listener))
        said = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return said


async def test_a_worker_that_serves_imap_rehearses_before_anybody_can_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsed: list[str] = []

    async def rehearse(services: Services) -> None:
        rehearsed.append(services.hostname)

    monkeypatch.setattr(doors, "rehearse", rehearse)
    async with InProcess(tmp_path / "imap", listeners=("imap",)) as server:
        assert rehearsed == [server.config.hostname]
    async with InProcess(tmp_path / "smtp", listeners=("smtp",)):
        assert len(rehearsed) == 1


async def test_a_worker_whose_rehearsal_fails_serves_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rehearse(services: Services) -> None:
        raise RuntimeError("stage fright")

    monkeypatch.setattr(doors, "rehearse", rehearse)
    async with InProcess(tmp_path, listeners=("imap",)) as server:
        assert (await greeting(server, "imap")).startswith(b"* OK")
