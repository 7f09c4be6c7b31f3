"""A database of an older version that holds mail already: nothing of it is lost, and counters are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthouse.db import Tx, migrations, open_database
from posthouse.mail.envelope import AccountId
from posthouse.store import changes, mailboxes
from posthouse.store.changes import Terms
from posthouse.store.read import Column, fetch
from posthouse.store.uids import ALL


async def test_mail_that_came_before_copies_were_counted_is_all_there(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a message that lies in two mailboxes, and was counted once
    others = [migration for migration in migrations.all_migrations() if migration.name != "shared"]
    monkeypatch.setattr(migrations, "all_migrations", lambda: others)
    database = open_database(database_url, tmp_path)

    def fill(tx: Tx) -> None:
        tx.run("INSERT INTO account (id, address, used, created) VALUES (1, 'bob@example.org', 300, 0)")
        tx.run("INSERT INTO account (id, address, used, created) VALUES (2, 'eve@example.org', 0, 0)")
        for id, name in ((1, "INBOX"), (2, "Work")):
            tx.run(
                "INSERT INTO mailbox (account, id, name, uidvalidity, uidnext) VALUES (1, ?, ?, ?, 2)",
                (id, name, id),
            )
            tx.run(
                "INSERT INTO placement (account, mailbox, uid, email, size, modseq)"
                " VALUES (1, ?, 1, 7, 300, 1)",
                (id,),
            )
        tx.run(
            "INSERT INTO email (account, id, content, arrived, size, envelope, bodystructure, prefix)"
            " VALUES (1, 7, 7, 1234.5, 300, ?, ?, ?)",
            (b"(e)", b"(b)", b"P: q\r\n"),
        )

    await database.write([], fill)
    await database.close()
    monkeypatch.undo()
    # when
    database = open_database(database_url, tmp_path)
    # then
    try:
        used = await database.read(lambda reader: reader.all("SELECT used FROM account ORDER BY id"))
        assert [int(octets) for (octets,) in used] == [600, 0]
        wanted = (Column.UID, Column.ARRIVED, Column.SAVED, Column.THREAD)
        rows = await database.read(lambda reader: fetch(reader, AccountId(1), 1, ALL, wanted))
        assert rows == [(1, 1234.5, None, 0)]
        copied = await database.write(
            [1], lambda tx: changes.copy(tx, AccountId(1), 1, ALL, "Work", Terms(5e6, 900))
        )
        assert copied.targets == [2]
        mailbox = await database.read(lambda reader: mailboxes.status(reader, AccountId(1), "Work"))
        assert mailbox.size == 600
    finally:
        await database.close()
