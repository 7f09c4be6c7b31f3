"""imaplib against a server on a real socket: what daily mail needs."""

from __future__ import annotations

import imaplib
import re
import time

import pytest

from tests.unit.access.conftest import PREFIX, Server

LETTER = (
    b"From: Alice <alice@example.net>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Sun, 1 Nov 2026 23:30:00 -0500\r\nMessage-ID: <1@example.net>\r\n\r\nHello Bob\r\n"
)
MULTIPART = (
    b"From: carol@example.net\r\nSubject: two parts\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n--b\r\n'
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"U8O8w59lIFRyw6R1bWU=\r\n--b\r\n"
    b"Content-Type: application/octet-stream\r\n\r\nattached\r\n--b--\r\n"
)


async def test_select_tells_what_a_client_needs(server: Server) -> None:
    # given a mailbox with one message seen and one not
    await server.deliver(LETTER, flags=1)
    await server.deliver(LETTER)

    def session() -> None:
        client = server.imap()
        # when it is selected
        assert client.select() == ("OK", [b"2"])
        # then all of RFC 3501 §6.3.1 is there
        answers = client.untagged_responses
        assert answers["RECENT"] == [b"2"]
        assert b"\\Seen" in answers["FLAGS"][0]
        assert b"\\*" in answers["PERMANENTFLAGS"][0]
        assert answers["UNSEEN"] == [b"2"]
        assert answers["UIDNEXT"] == [b"3"]
        assert int(answers["UIDVALIDITY"][0]) > 0
        assert "READ-WRITE" in answers
        # and the next session does not see them as recent
        other = server.imap()
        other.select()
        assert other.untagged_responses["RECENT"] == [b"0"]
        client.logout()
        other.logout()

    await server.run(session)


async def test_fetch_items(server: Server) -> None:
    await server.deliver(LETTER)

    def session() -> None:
        client = server.imap()
        client.select()
        whole = PREFIX + LETTER
        head = whole[: whole.index(b"\r\n\r\n") + 4]

        def one(items: str) -> tuple[bytes, bytes]:
            status, data = client.fetch("1", items)
            assert status == "OK"
            assert isinstance(data[0], tuple)
            return data[0][0], data[0][1]

        assert one("(BODY.PEEK[])")[1] == whole
        assert one("(BODY.PEEK[HEADER])")[1] == head
        assert one("(BODY.PEEK[TEXT])")[1] == b"Hello Bob\r\n"
        assert one("(BODY.PEEK[1])")[1] == b"Hello Bob\r\n"
        assert one("(BODY.PEEK[1]<2.3>)")[1] == b"llo"
        assert one("(BODY.PEEK[]<0.10>)")[1] == whole[:10]
        label, octets = one("(BODY.PEEK[HEADER.FIELDS (Subject received)])")
        assert label == b"1 (BODY[HEADER.FIELDS (Subject received)] {%d}" % len(octets)
        assert octets == PREFIX + b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n"
        assert b"Subject" not in one("(BODY.PEEK[HEADER.FIELDS.NOT (Subject)])")[1]
        _, data = client.fetch("1", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE)")
        line = data[0]
        assert isinstance(line, bytes)
        assert b"UID 1" in line
        assert b"FLAGS (\\Recent)" in line
        assert b'INTERNALDATE " 2-Nov-2026 13:04:05 +0000"' in line
        assert b"RFC822.SIZE %d" % len(whole) in line
        assert b'ENVELOPE ("Sun, 1 Nov 2026 23:30:00 -0500"' in line
        assert b'BODY ("text" "plain"' in line
        # nothing so far has set \Seen; this does
        assert one("(RFC822)")[1] == whole
        assert b"\\Seen" in client.fetch("1", "(FLAGS)")[1][0]  # type: ignore[operator]
        client.logout()

    await server.run(session)


async def test_parts_and_missing_parts(server: Server) -> None:
    await server.deliver(MULTIPART)

    def session() -> None:
        client = server.imap()
        client.select(readonly=True)
        data = client.fetch("1", "(BODY.PEEK[1.MIME] BODY.PEEK[2] BODY.PEEK[3])")[1]
        assert data[0][1].startswith(b"Content-Type: text/plain")  # type: ignore[index,union-attr]
        assert data[1][1] == b"attached"  # type: ignore[index]
        assert b"BODY[3] NIL" in data[2]  # type: ignore[operator]
        client.logout()

    await server.run(session)


async def test_a_large_message_comes_whole_and_in_pieces(server: Server) -> None:
    # given a message whose octets lie in a blob
    body = b"".join(b"%07d\r\n" % number for number in range(300_000))
    letter = (
        b'Subject: large\r\nContent-Type: multipart/mixed; boundary="=="\r\n\r\n'
        b"--==\r\n\r\nsmall\r\n--==\r\n\r\n" + body + b"\r\n--==--\r\n"
    )
    await server.deliver(letter)

    def session() -> None:
        client = server.imap()
        client.select()
        assert client.fetch("1", "(BODY.PEEK[])")[1][0][1] == PREFIX + letter  # type: ignore[index]
        assert client.fetch("1", "(BODY.PEEK[2])")[1][0][1] == body  # type: ignore[index]
        pieces = client.fetch("1", "(UID BODY.PEEK[1] BODY.PEEK[2]<1000000.70000> FLAGS)")[1]
        assert pieces[0][1] == b"small"  # type: ignore[index]
        assert pieces[1][1] == body[1_000_000:1_070_000]  # type: ignore[index]
        assert client.search(None, "BODY", "0299999")[1] == [b"1"]
        assert client.search(None, "BODY", "nowhere")[1] == [b""]
        client.logout()

    await server.run(session)


async def test_store_copy_expunge(server: Server) -> None:
    for _ in range(4):
        await server.deliver(LETTER)

    def session() -> None:
        client = server.imap()
        client.select()
        assert client.store("1:2", "+FLAGS", "(\\Seen $Forwarded)")[1] == [
            b"1 (FLAGS (\\Seen \\Recent $Forwarded))",
            b"2 (FLAGS (\\Seen \\Recent $Forwarded))",
        ]
        assert client.store("1", "-FLAGS.SILENT", "(\\Seen)")[1] == [None]
        assert client.fetch("1", "(FLAGS)")[1] == [b"1 (FLAGS (\\Recent $Forwarded))"]
        # copy keeps flags, and says where it went
        client.copy("2:3", "Archive")
        code = client.untagged_responses.get("COPYUID")
        assert code is not None
        assert re.fullmatch(rb"\d+ 2:3 1:2", code[0])
        assert client.status("Archive", "(MESSAGES UNSEEN UIDNEXT)")[1] == [
            b'"Archive" (MESSAGES 2 UNSEEN 1 UIDNEXT 3)'
        ]
        assert client.copy("1", "Nowhere")[0] == "NO"
        # expunge says the numbers of what went, from the highest
        client.store("1,3", "+FLAGS.SILENT", "\\Deleted")
        assert client.expunge()[1] == [b"3", b"1"]
        assert client.search(None, "ALL")[1] == [b"1 2"]
        assert client.uid("SEARCH", "ALL")[1] == [b"2 4"]
        # UID EXPUNGE leaves others alone
        client.store("1:2", "+FLAGS.SILENT", "\\Deleted")
        assert client.uid("EXPUNGE", "4")[0] == "OK"
        assert client.uid("SEARCH", "ALL")[1] == [b"2"]
        # CLOSE removes the rest without a word
        client.close()
        assert client.select()[1] == [b"0"]
        client.logout()

    await server.run(session)


async def test_move(server: Server) -> None:
    for _ in range(3):
        await server.deliver(LETTER)

    def session() -> None:
        client = server.imap()
        client.select()
        imaplib.Commands.setdefault("MOVE", ("SELECTED",))
        assert client._simple_command("MOVE", "1:2", "Trash")[0] == "OK"  # type: ignore[attr-defined]
        assert client.untagged_responses["EXPUNGE"] == [b"2", b"1"]
        assert client.search(None, "ALL")[1] == [b"1"]
        assert client.select("Trash")[1] == [b"2"]
        client.logout()

    await server.run(session)


async def test_append(server: Server) -> None:
    def session() -> None:
        client = server.imap()
        moment = imaplib.Time2Internaldate(ARRIVED_LOCAL)
        status, data = client.append("Sent", "(\\Seen $MDNSent)", moment, LETTER)
        assert status == "OK"
        assert re.match(rb"\[APPENDUID \d+ 1\]", data[0])
        large = LETTER + b"x" * 200_000 + b"\r\n"
        assert client.append("Sent", "", "", large)[0] == "OK"
        client.select("Sent")
        assert client.fetch("1", "(FLAGS BODY.PEEK[])")[1][0][1] == LETTER  # type: ignore[index]
        assert client.fetch("2", "(BODY.PEEK[])")[1][0][1] == large  # type: ignore[index]
        assert client.search(None, "KEYWORD", "$mdnsent")[1] == [b"1"]
        # to the selected mailbox: it is announced at once
        client.append("Sent", "", "", LETTER)
        assert client.untagged_responses["EXISTS"][-1] == b"3"
        status, data = client.append("Nowhere", "", "", LETTER)
        assert status == "NO"
        assert data[0].startswith(b"[TRYCREATE]")
        client.logout()

    await server.run(session)


ARRIVED_LOCAL = time.time() - 86400.0


async def test_mailboxes(server: Server) -> None:
    await server.deliver(LETTER)

    def names(client: imaplib.IMAP4, reference: str = '""', pattern: str = "*") -> list[bytes]:
        return [line for line in client.list(reference, pattern)[1] if isinstance(line, bytes)]

    def session() -> None:
        client = server.imap()
        assert b'(\\HasNoChildren \\Sent) "/" "Sent"' in names(client)
        assert client.create("a/b/c")[0] == "OK"
        assert client.create("a/b/c")[0] == "NO"
        assert b'(\\HasChildren) "/" "a/b"' in names(client)
        assert names(client, pattern="a/%") == [b'(\\HasChildren) "/" "a/b"']
        assert names(client, '"a/"', "%") == [b'(\\HasChildren) "/" "a/b"']
        assert names(client, pattern='""') == [b'(\\Noselect) "/" ""']
        # a parent that is deleted stays as a name
        assert client.delete("a/b")[0] == "OK"
        assert b'(\\Noselect \\HasChildren) "/" "a/b"' in names(client)
        assert client.select("a/b")[0] == "NO"
        assert client.create('"&U,BTFw-"')[0] == "OK"
        assert b'(\\HasNoChildren) "/" "&U,BTFw-"' in names(client)
        assert client.rename("a", "z")[0] == "OK"
        assert b'(\\HasNoChildren) "/" "z/b/c"' in names(client)
        # INBOX gives its messages away and stays
        assert client.rename("inbox", "Old")[0] == "OK"
        assert client.select("INBOX")[1] == [b"0"]
        assert client.select("Old")[1] == [b"1"]
        assert client.delete("INBOX")[0] == "NO"
        client.subscribe("z")
        client.unsubscribe("Junk")
        subscribed = [line for line in client.lsub()[1] if isinstance(line, bytes)]
        assert b'() "/" "z"' in subscribed
        assert b'() "/" "Junk"' not in subscribed
        assert client.subscribe("nowhere")[0] == "NO"
        client.logout()

    await server.run(session)


SEARCHES = [
    ("ALL", "1 2 3"),
    ("FROM alice", "1"),
    ("FROM ALICE SUBJECT two", ""),
    ('SUBJECT "grüße"', "1"),
    ('SUBJECT "GRÜSSE"', "1"),
    ('BODY "süße"', "2"),
    ('TEXT "SÜSSE TRÄUME"', "2"),
    ("TEXT example.net", "1 2"),
    ("BODY example.net", ""),
    ("OR FROM carol FROM alice", "1 2"),
    ("NOT (OR FROM carol FROM alice)", "3"),
    ("NOT BODY Hello", "2 3"),
    ("OR BODY Hello FROM carol", "1 2"),
    ('HEADER Message-ID ""', "1"),
    ("SEEN", "3"),
    ("UNSEEN", "1 2"),
    ("2:3 UNSEEN", "2"),
    ("UID 3:*", "3"),
    ("*", "3"),
    ("LARGER 300", "2"),
    ("SMALLER 300", "1 3"),
    ("ON 2-Nov-2026", "1 2 3"),
    ("BEFORE 2-Nov-2026", ""),
    ("SINCE 2-Nov-2026", "1 2 3"),
    ("SENTON 1-Nov-2026", "1"),
    ("SENTSINCE 2-Nov-2026", ""),
    ("SENTBEFORE 2-Nov-2026", "1"),
    ("RECENT", "1 2 3"),
    ("NEW", "1 2"),
    ("OLD", ""),
    ("TO bob", "1"),
    ('SUBJECT "two parts"', "2"),
    ('SUBJECT "parts two"', ""),
    ("UNKEYWORD x", "1 2 3"),
]


@pytest.mark.parametrize(("keys", "found"), SEARCHES, ids=[keys for keys, _ in SEARCHES])
async def test_search(server: Server, keys: str, found: str) -> None:
    await server.deliver(LETTER)
    await server.deliver(MULTIPART.replace(b"two parts", b"two\r\n parts"))
    await server.deliver(b"\r\n", flags=1)

    def session() -> list[bytes]:
        client = server.imap()
        client.select()
        client._encoding = "utf-8"  # type: ignore[attr-defined]
        answer: list[bytes] = client.search("UTF-8", keys)[1]
        client.logout()
        return answer

    assert await server.run(session) == [found.encode()]


async def test_numbers_that_are_not_there_are_bad(server: Server) -> None:
    await server.deliver(LETTER)

    def session() -> None:
        client = server.imap()
        client.select()
        for command in (lambda: client.fetch("2", "FLAGS"), lambda: client.store("5", "FLAGS", "()")):
            with pytest.raises(imaplib.IMAP4.error, match="BAD"):
                command()
        assert client.uid("FETCH", "77", "FLAGS")[0] == "OK"
        client.select("Drafts")
        assert client.fetch("1:*", "FLAGS") == ("OK", [None])
        client.logout()

    await server.run(session)


async def test_examine_changes_nothing(server: Server) -> None:
    await server.deliver(LETTER)

    def session() -> None:
        client = server.imap()
        client.select(readonly=True)
        client.fetch("1", "(RFC822)")
        assert client.fetch("1", "FLAGS")[1] == [b"1 (FLAGS (\\Recent))"]
        imaplib.Commands["STORE"] = ("SELECTED",)
        assert client._simple_command("STORE", "1", "FLAGS", "(\\Seen)")[0] == "NO"  # type: ignore[attr-defined]
        other = server.imap()
        other.select()
        assert other.untagged_responses["RECENT"] == [b"1"]
        client.logout()
        other.logout()

    await server.run(session)


async def test_nobody_sees_another_account(server: Server) -> None:
    await server.deliver(LETTER)

    def session() -> None:
        eve = server.imap("eve")
        assert eve.select()[1] == [b"0"]
        assert eve.uid("FETCH", "1:*", "(BODY[])")[1] == [None]
        eve.logout()
        mallory = imaplib.IMAP4("127.0.0.1", server.imap_port)
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            mallory.login("bob", "guess")
        mallory.logout()

    await server.run(session)


@pytest.mark.parametrize("wanted", ["(UID BODY.PEEK[])", "(UID INTERNALDATE)", "(FLAGS)"])
async def test_a_set_with_gaps_that_begins_with_the_first_message_names_all_of_it(
    server: Server, wanted: str
) -> None:
    for _ in range(14):
        await server.deliver(LETTER)

    def session() -> None:
        client = server.imap()
        client.select()
        client.store("3", "+FLAGS", "(\\Deleted)")
        client.expunge()
        _, parts = client.uid("FETCH", "1:2,4:9,12:14", wanted)
        lines = [part[0] if isinstance(part, tuple) else part for part in parts]
        uids = [int(found) for line in lines for found in re.findall(rb"UID (\d+)", line)]
        assert uids == [1, 2, 4, 5, 6, 7, 8, 9, 12, 13, 14]
        client.logout()

    await server.run(session)
