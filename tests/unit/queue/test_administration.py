"""`posthouse queue`, from the command line to the rows, without a running server."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from posthouse.cli.main import main
from posthouse.db import open_database
from posthouse.journey import record
from posthouse.mail.ids import LetterIds, show
from posthouse.queue import entries
from posthouse.queue.entries import NewEntry, QueueLetter
from posthouse.store import content


@pytest.fixture
def site(tmp_path, monkeypatch, database_url):
    """An installation with one letter for two recipients in its queue."""
    (tmp_path / "data").mkdir()
    config = tmp_path / "posthouse.toml"
    config.write_text(
        f'hostname = "mail.north.test"\ndata_directory = "data"\n[database]\nurl = "{database_url}"\n'
    )
    monkeypatch.setenv("POSTHOUSE_CONFIG", str(config))
    site = Site(tmp_path / "data", database_url)
    site.run(site.fill)
    return site


class Site:
    def __init__(self, data, database_url):
        self.data = data
        self.url = database_url
        self.id = LetterIds(1, lambda: 1_800_000_000_000).new()

    def run(self, work):
        async def inside():
            database = open_database(self.url, self.data)
            try:
                return await database.write([], work)
            finally:
                await database.close()

        return asyncio.run(inside())

    def fill(self, tx):
        content.put(tx, self.id, b"Subject: =?utf-8?q?h=C3=A9?=\r\n\r\n", b"x", size=30)
        letter = QueueLetter(
            self.id, "alice@north.test", "7BIT", False, "", "", b"", self.id, 30, 1.8e9, 1.9e9
        )
        new = [
            NewEntry(1, "bob@south.test", 0, "", "south.test"),
            NewEntry(2, "eve@west.test", 0, "", "west.test"),
        ]
        entries.insert(tx, letter, new, due=4e9)

    def rows(self):
        return self.run(lambda tx: tx.all("SELECT number, state, due < 4e9 FROM queue_entry ORDER BY number"))

    def journey(self):
        return [step[2:] for step in self.run(lambda tx: record.load(tx, self.id)).steps]


def test_list_and_show(site, capsys):
    assert main(["queue", "list", "--json", "--recipient", "@west.test"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["id"] == f"{show(site.id)}/2"
    assert entry["state"] == "incoming"
    assert main(["queue", "show", show(site.id), "--json"]) == 0
    letter = json.loads(capsys.readouterr().out)
    assert letter["subject"] == "hé"
    assert [entry["recipient"] for entry in letter["entries"]] == ["bob@south.test", "eve@west.test"]


def test_hold_and_release_are_journeyed(site, capsys):
    assert main(["queue", "hold", f"{show(site.id)}/2"]) == 0
    assert site.rows() == [(1, "active", 0), (2, "held", 0)]
    assert main(["queue", "release", "--state", "held"]) == 0
    assert site.rows() == [(1, "active", 0), (2, "active", 1)]
    assert [step[:2] for step in site.journey()] == [("held", 2), ("released", 2)]


def test_flush_makes_everything_due_and_wakes_the_workers(site):
    # Given a worker that listens,
    run = site.data / "run"
    run.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as worker:
        worker.bind(str(run / "1.notify"))
        worker.settimeout(10)
        assert main(["queue", "flush"]) == 0
        assert worker.recv(100) == b"tqueue"
    assert site.rows() == [(1, "active", 1), (2, "active", 1)]
    assert main(["queue", "flush"]) == 0


def test_retry_one_next_hop(site):
    assert main(["queue", "flush", "--next-hop", "west.test"]) == 0
    assert site.rows() == [(1, "active", 0), (2, "active", 1)]


def test_delete_removes_the_letter_with_its_last_entry(site, capsys):
    assert main(["queue", "delete", f"{show(site.id)}/1"]) == 0
    assert f"Deleted: {show(site.id)}/1 bob@south.test" in capsys.readouterr().out
    assert site.run(lambda tx: tx.one("SELECT count(*) FROM content")) == (1,)
    assert main(["queue", "delete", "--all"]) == 0
    assert site.run(lambda tx: tx.one("SELECT count(*) FROM content")) == (0,)
    assert main(["queue", "delete", "--all"]) == 65
    assert [step[:2] for step in site.journey()] == [("deleted", 1), ("deleted", 2)]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["hold"], 64),
        (["hold", "nonsense"], 64),
        (["hold", "0000000000000/x"], 64),
        (["hold", "0000000000000", "--all"], 64),
        (["list", "--older-than", "yesterday"], 64),
        (["list", "--state", "asleep"], 64),
        (["hold", "0000000000000"], 65),
        (["show", "0000000000000"], 65),
    ],
)
def test_what_is_wrong_is_said(site, arguments, code, capsys):
    assert main(["queue", *arguments]) == code
    output = capsys.readouterr()
    assert output.err + output.out
