"""UTF8=ACCEPT: mailboxes and messages are named and kept in UTF-8 (RFC 6855)."""

from __future__ import annotations

import dataclasses

from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client

MESSAGE = "From: Jürgen <jürgen@例え.test>\r\nSubject: Grüße\r\n\r\nschön\r\n"


async def test_names_and_headers_are_utf8(server: Server) -> None:
    async with Client(server) as client, Client(server) as old:
        assert (await client.do("ENABLE UTF8=ACCEPT"))[0] == "* ENABLED UTF8=ACCEPT"
        assert (await client.do('CREATE "Entwürfe"'))[-1].startswith("OK ")
        size = len(MESSAGE.encode())
        lines = await client.do(f'APPEND "Entwürfe" (\\Seen) UTF8 (~{{{size}+}}\r\n{MESSAGE})')
        assert lines[-1].startswith("OK [APPENDUID ")
        assert (await client.do('LIST "" "Entw*"'))[0] == '* LIST (\\HasNoChildren) "/" "Entwürfe"'
        await client.do('SELECT "Entwürfe"')
        assert (await client.do('SEARCH FROM "例え" SUBJECT "grüße"'))[0] == "* SEARCH 1"
        lines = await client.do("FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
        assert "Subject: Grüße" in lines
        # who has not turned it on sees the name in modified UTF-7
        assert (await old.do('LIST "" Entw*'))[0].endswith('"Entw&APw-rfe"')


async def test_a_name_that_only_looks_like_inbox_is_another_mailbox(server: Server) -> None:
    # given a mailbox whose name begins with a dotless i, of which Unicode's capital is I
    async with Client(server) as client:
        await server.deliver(MESSAGE.encode())
        assert (await client.do('CREATE "ınbox"'))[-1].startswith("OK ")
        # then it is none of the ways to write INBOX, neither as a name nor as a pattern
        assert "* 0 EXISTS" in await client.do('SELECT "ınbox"')
        assert [line for line in await client.do('LIST "" "ınbox"') if line.startswith("* ")] == [
            '* LIST (\\HasNoChildren) "/" "&ATE-nbox"'
        ]
        assert "* 1 EXISTS" in await client.do("SELECT iNbOx")


async def test_eight_bit_headers_are_taken_or_not_as_the_administrator_wants(server: Server) -> None:
    latin = "{17+}\r\nSubject: \u00fc\u00fc\r\n\r\n"
    async with Client(server) as client:
        # so that old mail can be moved here
        assert (await client.do(f"APPEND INBOX {latin}"))[-1].startswith("OK [APPENDUID ")
    server.services = dataclasses.replace(server.services, append_8bit_headers=False)
    async with Client(server) as client:
        # RFC 6855 §4; of several messages none is taken
        plain = "{14+}\r\nSubject: x\r\n\r\n"
        assert (await client.do(f"APPEND INBOX {plain} {latin}"))[-1].startswith("NO [CANNOT] ")
        large = f"Subject: \u00fc\r\n\r\n{'x' * 70_000}"
        size = len(large.encode())
        assert (await client.do(f"APPEND INBOX {{{size}+}}\r\n{large}"))[-1].startswith("NO [CANNOT] ")
        assert "(MESSAGES 1)" in (await client.do("STATUS INBOX (MESSAGES)"))[0]
        # octets beyond ASCII in the body are nobody's concern
        body = "{18+}\r\nSubject: x\r\n\r\n\u00fc\u00fc"
        assert (await client.do(f"APPEND INBOX {body}"))[-1].startswith("OK [APPENDUID ")
        await client.do("ENABLE UTF8=ACCEPT")
        assert (await client.do(f"APPEND INBOX {latin}"))[-1].startswith("OK [APPENDUID ")
