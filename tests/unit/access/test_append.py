"""APPEND of several messages: all are stored, with their own flags and dates, or none is (RFC 3502)."""

from __future__ import annotations

from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client

ONE = "Subject: one\r\n\r\nx\r\n"
TWO = "Subject: two\r\n\r\n" + "y" * 100_000 + "\r\n"


def literal(message: str) -> str:
    return f"{{{len(message)}+}}\r\n{message}"


async def test_all_are_stored_with_what_belongs_to_each(server: Server) -> None:
    async with Client(server) as client:
        await client.do("SELECT Sent")
        date = '"17-Jul-1996 02:44:25 -0700"'
        messages = f"(\\Seen) {literal(ONE)} ($x) {date} {literal(TWO)} {literal(ONE)}"
        lines = await client.do(f"APPEND Sent {messages}")
        assert lines[0] == "* 3 EXISTS"
        assert lines[-1].startswith("OK [APPENDUID")
        assert lines[-1].split()[3] == "1:3]"
        lines = await client.do("FETCH 1:3 (FLAGS RFC822.SIZE)")
        assert lines[0].startswith("* 1 FETCH (FLAGS (\\Seen \\Recent) ")
        assert lines[1] == f"* 2 FETCH (FLAGS (\\Recent $x) RFC822.SIZE {len(TWO)})"
        assert lines[2].startswith("* 3 FETCH (FLAGS (\\Recent) ")
        assert (await client.do("SEARCH BEFORE 1-Jan-2000"))[0] == "* SEARCH 2"
        assert (await client.do("SEARCH SUBJECT one"))[0] == "* SEARCH 1 3"


async def test_the_largest_message_is_told(server: Server) -> None:
    # RFC 7889: the same for every mailbox, so CAPABILITY says it
    limit = server.services.message_size_limit
    async with Client(server) as client:
        assert f"APPENDLIMIT={limit}" in (await client.do("CAPABILITY"))[0].split()
        assert (await client.do("STATUS Sent (APPENDLIMIT)"))[0] == f'* STATUS "Sent" (APPENDLIMIT {limit})'
        assert (await client.do(f"APPEND Sent {{{limit + 1}}}"))[-1].startswith("NO [TOOBIG]")


async def test_one_that_is_refused_takes_the_others_with_it(server: Server) -> None:
    refused = [
        (f"{literal(ONE)} {literal('')}", "NO [CANNOT]"),
        (f"{literal(ONE)} (\\Recent) {literal(ONE)}", "BAD"),
        (f"{literal(ONE)} {literal('a' + chr(0))} {literal(ONE)}", "BAD"),
        (f"{literal(ONE)} {literal(ONE)} rubbish", "BAD"),
        (f"{literal(ONE)} ({' '.join(f'k{n}' for n in range(101))}) {literal(ONE)}", "NO [LIMIT]"),
        (f"{literal(ONE)} {{90000000}}", "NO [TOOBIG]"),
    ]
    async with Client(server) as client:
        for messages, answer in refused:
            assert (await client.do(f"APPEND Sent {messages}"))[-1].startswith(answer), messages[:80]
        assert (await client.do("STATUS Sent (MESSAGES)"))[0] == '* STATUS "Sent" (MESSAGES 0)'
        lines = await client.do(f"APPEND Nowhere {literal(ONE)} {literal(ONE)}")
        assert lines[-1].startswith("NO [TRYCREATE]")
    # and nothing stays on the way
    assert list(server.services.spool_directory.iterdir()) == []


async def test_a_quota_holds_for_all_together(server: Server) -> None:
    await server.database.write([], lambda tx: tx.run("UPDATE account SET quota = ?", (2 * len(ONE),)))
    async with Client(server) as client:
        three = f"{literal(ONE)} {literal(ONE)} {literal(ONE)}"
        assert (await client.do(f"APPEND Sent {three}"))[-1].startswith("NO [OVERQUOTA]")
        assert (await client.do(f"APPEND Sent {literal(ONE)} {literal(ONE)}"))[-1].startswith("OK")
