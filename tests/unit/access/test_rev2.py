"""IMAP4rev2, for a client that has enabled it, beside one that has not (RFC 9051)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server) as one:
        assert await one.do("ENABLE IMAP4rev2") == ["* ENABLED IMAP4rev2", "OK ENABLE completed"]
        yield one


async def test_select_answers_as_rev2_wants(server: Server, client: Client) -> None:
    # RFC 9051 §6.3.2: LIST is there, RECENT and UNSEEN are not
    await server.deliver(LETTER)
    lines = await client.do("SELECT inbox")
    assert '* LIST () "/" "INBOX"' in lines
    assert "* 1 EXISTS" in lines
    assert not [line for line in lines if "RECENT" in line or "UNSEEN" in line]
    # nothing is recent, now or later, and what is so to others stays so
    await server.deliver(LETTER)
    assert await client.do("NOOP") == ["* 2 EXISTS", "OK NOOP completed"]
    assert (await client.do("FETCH 1:2 FLAGS"))[:-1] == ["* 1 FETCH (FLAGS ())", "* 2 FETCH (FLAGS ())"]
    async with Client(server) as old:
        lines = await old.do("SELECT INBOX")
        assert "* 2 RECENT" in lines
        assert "* OK [UNSEEN 1] The first unseen message" in lines


async def test_a_search_is_answered_with_esearch(server: Server, client: Client) -> None:
    for _ in range(3):
        await server.deliver(LETTER)
    await client.do("SELECT INBOX")
    assert (await client.do("SEARCH ALL"))[0] == f'* ESEARCH (TAG "{client.tag}") ALL 1:3'
    assert (await client.do("UID SEARCH DRAFT"))[0] == f'* ESEARCH (TAG "{client.tag}") UID'
    await client.do("STORE 2 +FLAGS.SILENT (\\Deleted)")
    assert (await client.do("STATUS INBOX (DELETED)"))[0] == '* STATUS "INBOX" (DELETED 1)'


async def test_names_are_utf8_to_one_and_modified_utf7_to_the_other(server: Server, client: Client) -> None:
    await client.do('CREATE "Entwürfe/B&B"')
    assert await client.do('LIST "" "Entw*" RETURN (STATUS (MESSAGES))') == [
        '* LIST (\\HasChildren) "/" "Entwürfe"',
        '* STATUS "Entwürfe" (MESSAGES 0)',
        '* LIST (\\HasNoChildren) "/" "Entwürfe/B&B"',
        '* STATUS "Entwürfe/B&B" (MESSAGES 0)',
        "OK LIST completed",
    ]
    async with Client(server) as old:
        assert (await old.do('LIST "" "Entw*"'))[:-1] == [
            '* LIST (\\HasChildren) "/" "Entw&APw-rfe"',
            '* LIST (\\HasNoChildren) "/" "Entw&APw-rfe/B&-B"',
        ]
        assert (await old.do("SELECT Entw&APw-rfe/B&-B"))[-1].startswith("OK")
        # Appendix A: no UTF-8 to those who have not enabled it
        await client.do('SUBSCRIBE "Entwürfe"')
        assert (await old.do('LSUB "" "Entw*"'))[0] == '* LSUB () "/" "Entw&APw-rfe"'


async def test_a_name_that_is_kept_in_another_form_is_told(server: Server, client: Client) -> None:
    # RFC 9051 §6.3.4, §6.3.9.7: names are kept in NFC
    decomposed = "Entwu\u0308rfe"
    told = f'* LIST () "/" "Entwürfe" ("OLDNAME" ("{decomposed}"))'
    assert (await client.do(f'CREATE "{decomposed}"'))[0] == told
    assert told in await client.do(f'SELECT "{decomposed}"')
    # §5.1: such a name is taken wherever there can be one
    assert (await client.do(f'LIST "" "{decomposed}"'))[0] == (
        f'* LIST (\\HasNoChildren) "/" "Entwürfe" ("OLDNAME" ("{decomposed}"))'
    )
    assert (await client.do(f'LIST "" "{decomposed[:-2]}*"'))[0] == '* LIST (\\HasNoChildren) "/" "Entwürfe"'
    await client.do(f'SUBSCRIBE "{decomposed}"')
    assert (await client.do(f'LSUB "" "{decomposed}"'))[0] == '* LSUB () "/" "Entwürfe"'
    (line,) = await client.do('CREATE "Plain"')
    assert line.startswith("OK")
    lines = await client.do(f'RENAME "Plain" "{decomposed}/x"')
    # §6.3.6: the old name of a mailbox that was renamed is the one that it had
    assert lines[0] == '* LIST () "/" "Entwürfe/x" ("OLDNAME" ("Plain"))'
    # §6.3.5
    lines = await client.do(f'DELETE "{decomposed}/x"')
    assert lines[0] == f'* LIST (\\NonExistent) "/" "Entwürfe/x" ("OLDNAME" ("{decomposed}/x"))'
    assert len(await client.do('CREATE "x"')) == 1
    assert await client.do('DELETE "x"') == ["OK DELETE completed"]


async def test_a_text_is_ascii_until_more_is_asked_for(server: Server, client: Client) -> None:
    # RFC 9051 §9, RFC 5255 §3.5
    lines = await client.do('SELECT "Entwürfe"')
    assert lines[-1] == "NO [NONEXISTENT] There is no mailbox Entwürfe"
    async with Client(server) as old:
        lines = await old.do('SELECT "Entw&APw-rfe"')
        assert lines[-1] == "NO [NONEXISTENT] There is no mailbox Entw?rfe"


async def test_what_is_no_mailbox_does_not_exist(server: Server, client: Client) -> None:
    for setup in ("CREATE a/b", "SUBSCRIBE a", "DELETE a"):
        await client.do(setup)
    assert '* LIST (\\NonExistent \\HasChildren) "/" "a"' in await client.do('LIST "" *')


async def test_searches_are_in_utf8(server: Server, client: Client) -> None:
    await server.deliver("Subject: Größe\r\n\r\nx\r\n".encode())
    await client.do("SELECT INBOX")
    assert (await client.do('SEARCH SUBJECT "größe"'))[0].endswith("ALL 1")
