"""mbox in and out, with Python's `mailbox` as the other side."""

from __future__ import annotations

import mailbox

import pytest

from posthouse.admin.exchange.folders import NoSuchForm, SourceMissing
from posthouse.admin.exchange.mbox import MboxSource, MboxTarget
from posthouse.store.flags import Flag
from tests.unit.exchange.test_maildir import STRANGE, filled

FROM = b"From a@x.test Thu Jul 13 12:26:40 2017\n"
MOMENT = 1_499_948_800.0


def crlf(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


async def brought(account, tmp_path, text: bytes, dialect: str = "mboxrd", **wishes):
    path = tmp_path / "mail"
    path.write_bytes(text)
    outcome = await account.bring(MboxSource(path, dialect), **wishes)
    return outcome, (await account.everything()).get("INBOX", [])


async def test_messages_with_their_dates_flags_and_keywords(account, tmp_path):
    text = (
        FROM
        + b"Subject: one\nStatus: RO\nX-Status: AF\nX-Keywords: work $Label1\n   \nX-UID: 9\n\nOne.\n\n"
        + FROM
        + b"Subject: two\n\nTwo.\n"
    )
    outcome, rows = await brought(account, tmp_path, text)

    assert outcome.added == 2
    assert rows == [
        (
            1,
            Flag.SEEN | Flag.ANSWERED | Flag.FLAGGED,
            "$Label1 work",
            MOMENT,
            crlf(b"Subject: one\n\nOne.\n"),
        ),
        (2, 0, "", MOMENT, crlf(b"Subject: two\n\nTwo.\n")),
    ]


@pytest.mark.parametrize(
    ("dialect", "written", "meant"),
    [
        ("mboxrd", b">From me\n>>From you\n", b"From me\n>From you\n"),
        ("mboxo", b">From me\n>>From you\n", b"From me\n>>From you\n"),
        ("mboxcl", b">From me\n>>From you\n", b"From me\n>>From you\n"),
        (
            "mboxcl2",
            b"From me Thu Jul 13 12:26:40 2017\n>From you\n",
            b"From me Thu Jul 13 12:26:40 2017\n>From you\n",
        ),
    ],
)
async def test_dialects_differ_in_how_they_quote(account, tmp_path, dialect, written, meant):
    length = b"Content-Length: %d\n" % len(written) if dialect.startswith("mboxcl") else b""
    text = FROM + b"Subject: one\n" + length + b"\n" + written + b"\n" + FROM + b"Subject: two\n\nx\n\n"

    _, rows = await brought(account, tmp_path, text, dialect)

    assert [row[4] for row in rows] == [crlf(b"Subject: one\n\n" + meant), crlf(b"Subject: two\n\nx\n")]


async def test_a_wrong_content_length_is_not_believed(account, tmp_path):
    text = FROM + b"Subject: one\nContent-Length: 3\n\nlonger\n\n" + FROM + b"Subject: two\n\nx\n"

    _, rows = await brought(account, tmp_path, text, "mboxcl")

    assert [row[4] for row in rows] == [crlf(b"Subject: one\n\nlonger\n"), crlf(b"Subject: two\n\nx\n")]


async def test_a_content_length_beyond_the_end_of_the_file_swallows_no_message(account, tmp_path):
    text = FROM + b"Subject: one\nContent-Length: 9999\n\nx\n\n" + FROM + b"Subject: two\n\ny\n"

    outcome, rows = await brought(account, tmp_path, text, "mboxcl2")

    assert [row[4] for row in rows] == [crlf(b"Subject: one\n\nx\n"), crlf(b"Subject: two\n\ny\n")]
    assert outcome.warnings == []


WHOLE = FROM + b"Subject: one\n\nOne.\n\n"


@pytest.mark.parametrize(
    ("dialect", "last", "where", "kept"),
    [
        ("mboxrd", FROM + b"Subject: two\n\nTwo li", "in its last line", b"Subject: two\n\nTwo li"),
        ("mboxo", FROM + b"Subject: two\nX-Lo", "in its header", b"Subject: two\nX-Lo"),
        ("mboxrd", FROM + b"Subject: two\n", "in its header", b"Subject: two\n"),
        (
            "mboxcl",
            FROM + b"Subject: two\nContent-Length: 20\n\nTwo lines.\n",
            "9 octets before its end",
            b"Subject: two\n\nTwo lines.\n",
        ),
        # the next message had just begun
        (
            "mboxrd",
            FROM + b"Subject: two\n\nTwo.\n\nFrom b@x.te",
            "in its last line",
            b"Subject: two\n\nTwo.\n\nFrom b@x.te",
        ),
    ],
)
async def test_a_last_message_that_is_cut_is_brought_and_told_of(
    account, tmp_path, dialect, last, where, kept
):
    outcome, rows = await brought(account, tmp_path, WHOLE + last, dialect)

    assert [row[4] for row in rows] == [crlf(b"Subject: one\n\nOne.\n"), crlf(kept)]
    assert outcome.warnings == [
        f"{tmp_path / 'mail'}: the last message, at octet {len(WHOLE)}, is cut {where}"
    ]


@pytest.mark.parametrize("dialect", ["mboxrd", "mboxo", "mboxcl", "mboxcl2"])
async def test_of_a_whole_file_nothing_is_told(account, tmp_path, dialect):
    length = b"Content-Length: 4\n" if dialect.startswith("mboxcl") else b""
    text = WHOLE + FROM + b"Subject: two\n" + length + b"\nTwo\n\n"

    outcome, rows = await brought(account, tmp_path, text, dialect)

    assert [row[4] for row in rows] == [crlf(b"Subject: one\n\nOne.\n"), crlf(b"Subject: two\n\nTwo\n")]
    assert outcome.warnings == []


async def test_a_sentence_begins_no_message(account, tmp_path):
    text = FROM + b"Subject: one\n\nIt was cold\nFrom January to March 1999\nand after.\n\n"
    text += b"From b@x.test 13/07/2017\nSubject: two\n\nx\n"
    text += FROM.replace(b"2017", b"2017 +0200") + b"Subject: three\n\nx\n"

    _, rows = await brought(account, tmp_path, text)

    # with the date of one, or after an empty line, it does
    assert [row[4].partition(b"\r\n")[0] for row in rows] == [
        b"Subject: one",
        b"Subject: two",
        b"Subject: three",
    ]
    assert b"From January to March 1999" in rows[0][4]


async def test_a_second_run_adds_only_what_was_appended_and_knows_twins_apart(account, tmp_path):
    twins = (FROM + b"Subject: twin\n\nx\n\n") * 2
    first, _ = await brought(account, tmp_path, twins)
    marked = twins.replace(b"Subject", b"Status: RO\nSubject", 1) + FROM + b"Subject: new\n\ny\n"
    second, rows = await brought(account, tmp_path, marked)

    assert (first.added, second.added, second.known, second.flags_changed) == (2, 1, 2, 1)
    assert [row[1] for row in rows] == [Flag.SEEN, 0, 0]


async def test_uids_of_c_client_are_kept(account, tmp_path):
    text = (
        FROM
        + b"Subject: a\nX-IMAPbase: 1234 77 work\nX-UID: 12\n\nx\n\n"
        + FROM
        + b"Subject: b\nX-UID: 30\n\nx\n\n"
    )
    _, rows = await brought(account, tmp_path, text, keep_uids=True)

    assert [row[0] for row in rows] == [12, 30]
    assert await account.uidvalidity() == 1234


async def test_a_directory_of_files_becomes_mailboxes(account, tmp_path):
    (tmp_path / "mails" / "Work").mkdir(parents=True)
    for name in ("inbox", "Work/2020.mbox", "Sent"):
        (tmp_path / "mails" / name).write_bytes(FROM + b"Subject: x\n\n")
    (tmp_path / "mails" / "notes.txt").write_text("no mail")

    await account.bring(MboxSource(tmp_path / "mails"))

    assert set(await account.everything()) == {"INBOX", "Work/2020", "Sent"}


async def test_what_is_no_mbox_is_refused(tmp_path):
    (tmp_path / "x").write_text("hello")
    with pytest.raises(NoSuchForm):
        await MboxSource(tmp_path / "x").folders()
    with pytest.raises(SourceMissing):
        await MboxSource(tmp_path).folders()
    with pytest.raises(SourceMissing):
        MboxSource(tmp_path / "y")


async def test_out_and_in_again_is_the_same(account, make_account, tmp_path):
    before = await filled(account, tmp_path)

    await account.take(MboxTarget(tmp_path / "out"))
    other = await make_account()
    await other.bring(MboxSource(tmp_path / "out"), keep_uids=True)

    after = await other.everything()
    assert [row[:4] for row in after["INBOX"]] == [row[:4] for row in before["INBOX"]]
    assert after["Archive/2020&21"][0][4] == before["Archive/2020&21"][0][4]
    # Of the strange ones, those whose lines all end are the same octet by octet.
    for octets, written in zip(STRANGE, after["INBOX"], strict=True):
        if octets.endswith(b"\r\n"):
            assert written[4] == octets


async def test_python_reads_what_we_write(account, tmp_path):
    await filled(account, tmp_path)

    await account.take(MboxTarget(tmp_path / "out"))

    read = mailbox.mbox(tmp_path / "out" / "INBOX.mbox", create=False)
    messages = list(read)
    read.close()
    assert len(messages) == len(STRANGE)
    assert messages[0].get_from() == "MAILER-DAEMON Tue May 13 16:53:20 2014"
    assert [message.get_flags() for message in messages] == ["O", "ROF", "O", "ROF", "O"]
    assert messages[0]["X-Keywords"] == "$Label1 work"
