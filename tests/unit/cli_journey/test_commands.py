"""`posthouse journey` and `posthouse explain` as an administrator types them."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from posthouse.cli.main import main
from posthouse.config import load
from posthouse.db import Tx, migrate, open_database
from posthouse.journey import record
from posthouse.mail.ids import first_of, show

T = 1793624645.0
FIRST, SECOND = first_of(T), first_of(T + 7200)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation that knows two letters of alice@north.test."""
    config = tmp_path / "posthouse.toml"
    config.write_text('hostname = "mail.north.test"\n')
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("POSTHOUSE_CONFIG", str(config))

    def write(tx: Tx) -> None:
        sender, content = record.sender(T, "alice@north.test"), record.content(T, 100, "<1@north.test>")
        first = [sender, content, record.stored(T, 1, "bob@south.test", "INBOX", 7)]
        second = [sender, record.queued(T + 7200, 1, "dave@east.test", "east.test")]
        record.begin(tx, [(FIRST, first), (SECOND, second)])

    async def fill() -> None:
        loaded = load(config)
        migrate(loaded.database.url, loaded.data_directory)
        database = open_database(loaded.database.url, loaded.data_directory)
        try:
            await database.write([], write)
        finally:
            await database.close()

    asyncio.run(fill())
    return tmp_path


@pytest.mark.usefixtures("installation")
def test_one_letter_is_told_with_its_first_sentence_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journey", "1@north.test"]) == os.EX_OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{show(FIRST)}: Delivered to bob@south.test, mailbox INBOX, at ")
    assert any("Stored for bob@south.test in the mailbox INBOX as UID 7." in line for line in lines)


@pytest.mark.usefixtures("installation")
def test_an_address_lists_its_letters_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journey", "Alice@North.test"]) == os.EX_OK
    heading, newest, oldest = capsys.readouterr().out.splitlines()
    assert heading.split() == ["id", "time", "what", "became", "of", "it"]
    assert newest.startswith(show(SECOND))
    assert "Still in the queue for dave@east.test" in newest
    assert oldest.startswith(show(FIRST))


@pytest.mark.usefixtures("installation")
def test_programs_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journey", f"{show(SECOND)}/1", "--json"]) == os.EX_OK
    assert json.loads(capsys.readouterr().out)["steps"][-1]["kind"] == "queued"
    assert main(["journey", "alice@north.test", "--json"]) == os.EX_OK
    assert [told["id"] for told in json.loads(capsys.readouterr().out)] == [show(SECOND), show(FIRST)]


@pytest.mark.usefixtures("installation")
def test_what_nobody_knows_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journey", "carol@east.test"]) == os.EX_DATAERR
    assert "nothing is known of carol@east.test" in capsys.readouterr().err


def test_a_reply_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "550 5.7.1 Relaying denied"]) == os.EX_OK
    told = capsys.readouterr().out
    assert told.startswith("The server takes mail only for its own domains")
    assert "550: " in told
    assert "5.7.1: " in told


def test_a_reply_needs_no_quotation_marks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "452", "4.2.2", "--json"]) == os.EX_OK
    told = json.loads(capsys.readouterr().out)
    assert (told["code"], told["enhanced"]) == (452, "4.2.2")
    assert "full" in told["says"]


@pytest.mark.parametrize(("words", "code"), [([], os.EX_USAGE), (["hello"], os.EX_DATAERR)])
def test_what_is_no_reply_is_refused(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *words]) == code
    assert capsys.readouterr().err.startswith("posthouse: ")
