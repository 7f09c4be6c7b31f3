"""PREVIEW: the first words of a message, decoded, without opening it (RFC 8970)."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from posthouse.store.fulltext import open_fulltext
from posthouse.store.indexer import Indexer
from tests.servers import eventually
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client

HTML = (
    b'Subject: x\r\nContent-Type: multipart/alternative; boundary="b"\r\n\r\n--b\r\n'
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.b64encode("<style>p {}</style><p>Grüße  aus<br>Köln".encode())
    + b"\r\n--b--\r\n"
)
LONG = b"Subject: y\r\n\r\n" + b"word " * 20_000


async def test_the_beginning_of_the_text_is_told(server: Server) -> None:
    for letter in (HTML, LONG, b"Subject: empty\r\n\r\n"):
        await server.deliver(letter)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        text = "Grüße aus Köln"
        assert (await client.do("FETCH 1 (UID PREVIEW)"))[:2] == [
            f"* 1 FETCH (UID 1 PREVIEW {{{len(text.encode())}}}",
            f"{text})",
        ]
        assert (await client.do("FETCH 2 PREVIEW"))[0] == f'* 2 FETCH (PREVIEW "{("word " * 40).strip()}")'
        assert (await client.do("FETCH 3 PREVIEW"))[0] == '* 3 FETCH (PREVIEW "")'
        # nothing has been seen by that
        assert (await client.do("SEARCH UNSEEN"))[0] == "* SEARCH 1 2 3"


async def test_who_is_in_no_hurry_is_told_what_is_at_hand(server: Server) -> None:
    await server.deliver(b"Subject: x\r\n\r\nshort\r\n")
    await server.deliver(LONG)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        lines = await client.do("UID FETCH 1:2 (PREVIEW (LAZY) FLAGS)")
        assert lines[0] == '* 1 FETCH (UID 1 FLAGS (\\Recent) PREVIEW "short")'
        assert lines[1] == "* 2 FETCH (UID 2 FLAGS (\\Recent) PREVIEW NIL)"


async def test_what_was_found_out_once_is_kept(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for letter in (HTML, LONG, b"Subject: empty\r\n\r\n"):
        await server.deliver(letter)
    async with Client(server) as client, Client(server, "eve") as eve:
        await client.do("SELECT INBOX")
        before = await client.do("FETCH 1:3 (PREVIEW UID)")
        kept = "SELECT count(*) FROM preview WHERE account = 1"

        async def number() -> int:
            return int((await server.database.read(lambda reader: reader.one(kept)) or (0,))[0])

        async def all_kept() -> bool:
            return await number() == 3

        await eventually(all_kept, what="the three previews")
        # when it is asked for again, by anybody, nothing is decoded, and who is in no hurry has it too
        monkeypatch.setattr("posthouse.access.imap.previews.preview", None)
        assert await client.do("FETCH 1:3 (PREVIEW UID)") == before
        assert "NIL" not in " ".join(await client.do("FETCH 1:3 (PREVIEW (LAZY))"))
        await client.do("COPY 2 Sent")
        await client.do("SELECT Sent")
        assert (await client.do("FETCH 1 PREVIEW"))[0].startswith('* 1 FETCH (PREVIEW "word word')
        # of another's mail there is nothing to be had
        await eve.do("SELECT INBOX")
        assert await eve.do("UID FETCH 1:* PREVIEW") == ["OK FETCH completed"]
        # and it goes with the message
        for mailbox in ("Sent", "INBOX"):
            await client.do(f"SELECT {mailbox}")
            await client.do("STORE 1:* +FLAGS.SILENT (\\Deleted)")
            await client.do("EXPUNGE")
        assert await number() == 0


async def test_of_what_comes_later_they_are_made_beforehand(
    server: Server, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, asked = server.services, "SELECT count(*) FROM preview"
    fulltext = open_fulltext(database_url, tmp_path)
    indexer = Indexer(services.database, fulltext, services.blobs, services.notifier, text_limit=30_000)
    await server.deliver(b"Subject: x\r\n\r\nshort\r\n")
    await indexer.sweep()
    # for whom nobody has asked yet, there are none
    assert await server.database.read(lambda reader: reader.one(asked)) == (0,)
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        await client.do("FETCH 1 PREVIEW")

        async def kept() -> bool:
            return await server.database.read(lambda reader: reader.one(asked)) == (1,)

        await eventually(kept, what="the first preview")
        for letter in (HTML, LONG):
            await server.deliver(letter)
        await indexer.sweep()
        monkeypatch.setattr("posthouse.access.imap.previews.preview", None)
        await client.do("NOOP")
        lines = await client.do("FETCH 2:3 PREVIEW")
        assert "Grüße aus Köln" in lines[1]
        assert lines[2].startswith('* 3 FETCH (PREVIEW "word word')
    await fulltext.close()
