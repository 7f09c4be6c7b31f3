"""REPLACE: the new message is there and the old one gone, or neither (RFC 8508)."""

from __future__ import annotations

from tests.unit.access.conftest import PREFIX, Server
from tests.unit.access.test_append import literal
from tests.unit.access.test_sessions import LETTER, Client

DRAFT = "Subject: second thoughts\r\n\r\nx\r\n"


async def test_the_new_message_takes_the_place_of_the_old(server: Server) -> None:
    for _ in range(3):
        await server.deliver(LETTER)
    async with Client(server) as client, Client(server) as other:
        await client.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        lines = await client.do(f"REPLACE 2 INBOX (\\Seen \\Draft) {literal(DRAFT)}")
        assert lines[0].startswith("* OK [APPENDUID ")
        assert lines[0].endswith(" 4] In its place")
        assert lines[1:3] == ["* 2 EXPUNGE", "* 3 EXISTS"]
        assert lines[-1] == "OK REPLACE completed"
        assert (await other.do("NOOP"))[:2] == ["* 2 EXPUNGE", "* 3 EXISTS"]
        assert (await client.do("FETCH 3 (UID RFC822.SIZE)"))[
            0
        ] == f"* 3 FETCH (UID 4 RFC822.SIZE {len(DRAFT)})"
        assert (await client.do("SEARCH SUBJECT thoughts"))[0] == "* SEARCH 3"


async def test_it_may_go_to_another_mailbox(server: Server) -> None:
    await server.deliver(LETTER)
    async with Client(server) as client:
        await client.do("ENABLE QRESYNC")
        await client.do("SELECT INBOX")
        lines = await client.do(f"UID REPLACE 1 Sent {literal(DRAFT)}")
        assert lines[1] == "* VANISHED 1"
        assert lines[-1].startswith("OK [HIGHESTMODSEQ ")
        assert (await client.do("STATUS INBOX (MESSAGES)"))[0].endswith("(MESSAGES 0)")
        assert (await client.do("STATUS Sent (MESSAGES)"))[0].endswith("(MESSAGES 1)")


async def test_what_cannot_be_replaced_stays(server: Server) -> None:
    await server.deliver(LETTER)
    async with Client(server) as client, Client(server) as other:
        await client.do("SELECT INBOX")
        await other.do("SELECT INBOX")
        for command, answer in (
            ("REPLACE 2 INBOX", "BAD "),
            ("UID REPLACE 7 INBOX", "NO [NONEXISTENT] "),
            ("REPLACE 1 Nowhere", "NO [TRYCREATE]"),
        ):
            assert (await client.do(f"{command} {literal(DRAFT)}"))[-1].startswith(answer), command
        # given that the message goes while its successor is on its way
        await other.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await other.do("EXPUNGE")
        lines = await client.do(f"REPLACE 1 INBOX {literal(DRAFT)}")
        assert lines[-1].startswith("NO [EXPUNGEISSUED]")
        assert (await client.do("STATUS INBOX (MESSAGES)"))[0].endswith("(MESSAGES 0)")
        await client.do("EXAMINE INBOX")
        assert (await client.do(f"REPLACE 1 INBOX {literal(DRAFT)}"))[-1].startswith("NO [NOPERM]")
    assert list(server.services.spool_directory.iterdir()) == []


async def test_what_goes_counts_no_more(server: Server) -> None:
    # given a quota that one message fills
    await server.deliver(LETTER)
    size = len(PREFIX) + len(LETTER)
    await server.database.write([], lambda tx: tx.run("UPDATE account SET quota = ? WHERE id = 1", (size,)))
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        assert (await client.do(f"APPEND INBOX {literal(DRAFT)}"))[-1].startswith("NO [OVERQUOTA]")
        assert (await client.do(f"REPLACE 1 INBOX {literal(DRAFT)}"))[-1] == "OK REPLACE completed"
        too_much = literal("Subject: x\r\n\r\n" + "y" * size)
        assert (await client.do(f"REPLACE 1 INBOX {too_much}"))[-1].startswith("NO [OVERQUOTA]")
        assert (await client.do("FETCH 1 UID"))[0] == "* 1 FETCH (UID 2)"
