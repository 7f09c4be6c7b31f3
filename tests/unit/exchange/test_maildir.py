"""Maildir in and out, with Python's `mailbox` as the other side."""

from __future__ import annotations

import mailbox
import os
from pathlib import Path

import pytest

from posthouse.accounts.problem import NoSuchEntry
from posthouse.admin.exchange.folders import NoSuchForm, SourceMissing
from posthouse.admin.exchange.maildir import MaildirSource, MaildirTarget
from posthouse.store import changes
from posthouse.store.changes import Action
from posthouse.store.flags import Flag
from posthouse.store.imports import UidsNotFree

LETTER = b"From: a@x.test\nSubject: hello\n\nOne.\nTwo.\n"
CRLF = LETTER.replace(b"\n", b"\r\n")


def put(
    folder: Path, name: str, content: bytes = LETTER, when: float = 1_600_000_000, sub: str = "cur"
) -> Path:
    for each in ("cur", "new", "tmp"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    path = folder / sub / name
    path.write_bytes(content)
    os.utime(path, (when, when))
    return path


async def test_flags_keywords_dates_and_folders_of_a_dovecot_maildir(account, tmp_path):
    top = tmp_path / "Maildir"
    put(top, "1.host:2,FS", when=1_500_000_000)
    put(top, "2.host:2,PRab")
    put(top, "3.host", sub="new")
    (top / "dovecot-keywords").write_text("0 $Label1\n1 work\n")
    put(top / ".Sent.J&APw-rgen", "4.host:2,DST")

    outcome = await account.bring(MaildirSource(top))

    assert (outcome.added, outcome.known, outcome.skipped_count) == (4, 0, 0)
    found = await account.everything()
    assert [row[:4] for row in found["INBOX"]] == [
        (1, Flag.FLAGGED | Flag.SEEN, "", 1_500_000_000),
        (2, Flag.ANSWERED, "$Forwarded $Label1 work", 1_600_000_000),
        (3, 0, "", 1_600_000_000),
    ]
    assert [row[1] for row in found["Sent/Jürgen"]] == [Flag.DRAFT | Flag.SEEN | Flag.DELETED]
    assert {row[4] for rows in found.values() for row in rows} == {CRLF}


async def test_a_second_run_adds_what_is_new_and_brings_flags_up_to_date(account, tmp_path):
    top = tmp_path / "Maildir"
    first = put(top, "1.host:2,")
    put(top, "2.host:2,S")
    await account.bring(MaildirSource(top))
    first.rename(top / "cur" / "1.host:2,F")
    put(top, "3.host:2,")
    mailbox_id = await account.uidvalidity()
    await account.write(
        lambda tx: changes.store(tx, account.id, mailbox_id, ((2, 2),), Action.SET, Flag.ANSWERED)
    )

    outcome = await account.bring(MaildirSource(top))
    again = await account.bring(MaildirSource(top), flags=False)

    assert (outcome.added, outcome.known, outcome.flags_changed) == (1, 2, 2)
    assert (again.added, again.known, again.flags_changed) == (0, 3, 0)
    rows = (await account.everything())["INBOX"]
    assert [row[:2] for row in rows] == [(1, Flag.FLAGGED), (2, Flag.SEEN), (3, 0)]


async def test_uids_are_kept_on_request_and_only_in_a_mailbox_without_its_own(
    account, make_account, tmp_path
):
    top = tmp_path / "Maildir"
    put(top, "b.host:2,")
    put(top, "a.host:2,")
    put(top, "new.host:2,")
    (top / "dovecot-uidlist").write_text("3 V1234567 N900 Gabc\n7 :b.host\n42 W120 :a.host\n")

    outcome = await account.bring(MaildirSource(top), keep_uids=True)

    assert outcome.uids_not_kept == 0
    assert await account.uidvalidity() == 1234567
    assert [row[0] for row in (await account.everything())["INBOX"]] == [7, 42, 43]
    put(top, "late.host:2,")
    await account.bring(MaildirSource(top), keep_uids=True)
    assert [row[0] for row in (await account.everything())["INBOX"]] == [7, 42, 43, 900]
    other = await make_account()
    await other.bring(MaildirSource(top))
    with pytest.raises(UidsNotFree):
        await other.bring(MaildirSource(top), keep_uids=True)


async def test_a_dry_run_counts_and_changes_nothing(account, tmp_path):
    put(tmp_path / "Maildir", "1.host:2,")
    put(tmp_path / "Maildir" / ".New", "2.host:2,")

    outcome = await account.bring(MaildirSource(tmp_path / "Maildir"), dry_run=True)

    assert (outcome.folders, outcome.added) == (2, 2)
    assert await account.everything() == {}


async def test_a_folder_may_go_to_a_mailbox_of_another_name(account, tmp_path):
    put(tmp_path / "Maildir", "1.host:2,")
    put(tmp_path / "Maildir" / ".Sent Items", "2.host:2,")

    await account.bring(MaildirSource(tmp_path / "Maildir"), names={"Sent Items": "Sent"})

    assert set(await account.everything()) == {"INBOX", "Sent"}


async def test_what_cannot_be_stored_is_told_and_the_rest_comes(account, tmp_path):
    top = tmp_path / "Maildir"
    put(top, "1.host:2,", b"")
    put(top, "2.host:2,", b"X: " + b"y" * 3_000_000 + b"\n\n")
    put(top, "3.host:2,", b"Subject: nul\n\na\0b\n")
    put(top, "4.host:2,", b"Subject: big\n\n" + b"0123456789\n" * 20_000)

    outcome = await account.bring(MaildirSource(top))

    assert (outcome.added, outcome.skipped_count) == (2, 2)
    nul, big = [row[4] for row in (await account.everything())["INBOX"]]
    assert nul == b"Subject: nul\r\n\r\na\x80b\r\n"
    assert big == b"Subject: big\r\n\r\n" + b"0123456789\r\n" * 20_000


def test_what_is_no_maildir_is_refused(tmp_path):
    with pytest.raises(NoSuchForm):
        MaildirSource(tmp_path)
    with pytest.raises(SourceMissing):
        MaildirSource(tmp_path / "nothing")


STRANGE = [
    CRLF,
    b"Subject: no end of line",
    b"Subject: bare\r\n\r\nline feed \n and return \r in it\r\n",
    b"Subject: large\r\n\r\n" + b"x" * 70_000 + b"\r\n",
    b"\r\nno head\r\n",
]


async def filled(account, tmp_path):
    """An account with flags, keywords, gaps between UIDs, and strange messages."""
    top = tmp_path / "first"
    for number, content in enumerate(STRANGE):
        put(top, f"{number}.host:2,{'FS' if number % 2 else 'ab'}", content, 1_400_000_000 + number)
    (top / "dovecot-keywords").write_text("0 $Label1\n1 work\n")
    lines = "".join(f"{number * 3 + 5} :{number}.host\n" for number in range(len(STRANGE)))
    (top / "dovecot-uidlist").write_text(f"3 V4242 N77 Gabc\n{lines}")
    put(top / ".Archive.2020&-21", "9.host:2,R")
    await account.bring(MaildirSource(top), keep_uids=True)
    return await account.everything()


async def test_out_and_in_again_is_the_same(account, make_account, tmp_path):
    before = await filled(account, tmp_path)
    assert [row[4] for row in before["INBOX"]] == STRANGE

    counts = await account.take(MaildirTarget(tmp_path / "out"))
    other = await make_account()
    await other.bring(MaildirSource(tmp_path / "out"), keep_uids=True)

    assert counts["INBOX"] == len(STRANGE)
    assert await other.everything() == before
    assert await other.uidvalidity() == 4242


async def test_python_reads_what_we_write(account, tmp_path):
    await filled(account, tmp_path)

    await account.take(MaildirTarget(tmp_path / "out"))

    read = mailbox.Maildir(tmp_path / "out", create=False)
    flags = sorted((message["Subject"] or "", message.get_flags(), message.get_date()) for message in read)
    assert flags[1] == ("bare", "ab", 1_400_000_002.0)
    assert {"Archive.2020&-21", "Sent"} <= set(read.list_folders())
    assert [message.get_flags() for message in read.get_folder("Archive.2020&-21")] == ["R"]


async def test_a_mailbox_that_is_not_there_cannot_be_written(account, tmp_path):
    with pytest.raises(NoSuchEntry, match="Nothing"):
        await account.take(MaildirTarget(tmp_path / "out"), "INBOX", "Nothing")


async def test_a_directory_in_use_is_not_written_to(tmp_path):
    put(tmp_path / "Maildir", "1.host:2,")
    with pytest.raises(FileExistsError):
        MaildirTarget(tmp_path / "Maildir")
