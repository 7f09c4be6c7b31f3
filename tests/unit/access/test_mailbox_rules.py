"""What is done with mailboxes as a whole: the rules of RFC 9051 §6.3, said to a real server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from posthouse.store.mailboxes import DEPTH_LIMIT
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server) as client:
        yield client


async def listed(client: Client, pattern: str = "*") -> dict[str, str]:
    """Names, as they are on the wire, with their attributes."""
    found = {}
    for line in (await client.do(f'LIST "" "{pattern}"'))[:-1]:
        attributes, name = re.fullmatch(r'\* LIST \((.*?)\) "/" "(.*)"', line).groups()  # type: ignore[union-attr]
        found[name] = attributes
    return found


async def number(client: Client, name: str, item: str) -> int:
    line = (await client.do(f'STATUS "{name}" ({item})'))[0]
    return int(re.search(rf"{item} (\d+)", line)[1])  # type: ignore[index]


async def test_a_mailbox_that_is_deleted_leaves_its_children_and_its_name_as_a_level(client: Client) -> None:
    await client.do("CREATE a/b/c")
    old = await number(client, "a/b", "UIDVALIDITY")
    assert await client.do("DELETE a/b") == ["OK DELETE completed"]
    assert (await listed(client, "a*")) == {
        "a": "\\HasChildren",
        "a/b": "\\Noselect \\HasChildren",
        "a/b/c": "\\HasNoChildren",
    }
    # RFC 9051 §6.3.5: what is no mailbox cannot be deleted, selected or asked for
    for command in ("DELETE a/b", "SELECT a/b", "STATUS a/b (MESSAGES)", "SUBSCRIBE a/b"):
        assert (await client.do(command))[-1].startswith("NO [NONEXISTENT]")
    # but it can be made again, as another mailbox
    assert (await client.do("CREATE a/b"))[-1].startswith("OK")
    assert await number(client, "a/b", "UIDVALIDITY") > old
    # and a level without children is gone
    await client.do("DELETE a/b")
    await client.do("DELETE a/b/c")
    assert "a/b" not in await listed(client)


async def test_a_level_that_is_no_mailbox_is_renamed_with_all_below_it(client: Client) -> None:
    await client.do("CREATE a/b/c")
    await client.do("DELETE a/b")
    assert await client.do("RENAME a/b x/y") == ["OK RENAME completed"]
    assert set(await listed(client, "x*")) == {"x", "x/y", "x/y/c"}
    assert "a/b/c" not in await listed(client)


async def test_a_renamed_mailbox_keeps_its_uids_and_gets_the_levels_it_lacks(
    client: Client, server: Server
) -> None:
    await client.do("CREATE old/deep")
    await server.deliver(LETTER, "old/deep")
    before = [await number(client, "old/deep", item) for item in ("UIDVALIDITY", "UIDNEXT", "MESSAGES")]
    assert await client.do("RENAME old/deep new/far/away") == ["OK RENAME completed"]
    after = [await number(client, "new/far/away", item) for item in ("UIDVALIDITY", "UIDNEXT", "MESSAGES")]
    assert after == before
    assert set(await listed(client, "new*")) == {"new", "new/far", "new/far/away"}
    for command in ("RENAME new new/below", "RENAME new old", "RENAME nowhere x", "RENAME new INBOX"):
        assert (await client.do(command))[-1].startswith("NO ["), command
    # RFC 9051 §6.3.6: nothing is done by halves
    await client.do("CREATE taken/far")
    await client.do("DELETE taken")
    assert (await client.do("RENAME new taken"))[-1].startswith("NO [ALREADYEXISTS]")
    assert set(await listed(client, "new*")) == {"new", "new/far", "new/far/away"}


async def test_inbox_is_renamed_by_giving_its_mail_away(client: Client, server: Server) -> None:
    # given
    for _ in range(3):
        await server.deliver(LETTER)
    await client.do("CREATE inbox/kept")
    await client.do("SELECT INBOX")
    await client.do("STORE 2 +FLAGS (\\Deleted)")
    await client.do("EXPUNGE")
    validity = await number(client, "INBOX", "UIDVALIDITY")
    # when
    lines = await client.do("RENAME inBox gone")
    # then who has it open sees it empty, and its children stay
    assert lines == ["* 2 EXPUNGE", "* 1 EXPUNGE", "OK RENAME completed"]
    assert await number(client, "INBOX", "MESSAGES") == 0
    assert await number(client, "INBOX", "UIDVALIDITY") == validity
    assert set(await listed(client, "INBOX*")) == {"INBOX", "INBOX/kept"}
    assert "gone/kept" not in await listed(client)
    await client.do("SELECT gone")
    assert (await client.do("UID SEARCH ALL"))[0] == "* SEARCH 1 3"
    assert (await client.do("DELETE INBOX"))[-1].startswith("NO [CANNOT]")
    assert (await client.do("CREATE inbox"))[-1].startswith("NO [ALREADYEXISTS]")


async def test_a_subscription_outlives_its_mailbox(client: Client) -> None:
    await client.do("CREATE news")
    await client.do("SUBSCRIBE news")
    await client.do("DELETE news")
    assert '* LSUB (\\Noselect) "/" "news"' in await client.do('LSUB "" *')
    assert '* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" "news"' in await client.do(
        'LIST (SUBSCRIBED) "" news'
    )
    assert "news" not in await listed(client)
    # RFC 9051 §6.3.6: a rename does not touch it
    await client.do("CREATE news")
    await client.do("RENAME news old")
    assert '* LSUB (\\Noselect) "/" "news"' in await client.do('LSUB "" *')
    assert await client.do("UNSUBSCRIBE news") == ["OK UNSUBSCRIBE completed"]
    assert await client.do("UNSUBSCRIBE news") == ["OK UNSUBSCRIBE completed"]


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        ('"say \\"hi\\" to \\\\them"', 'say \\"hi\\" to \\\\them'),
        ('"50% of (all) {5} *"', "50% of (all) {5} *"),
        ('"R&-D"', "R&-D"),
        ('"Entw&APw-rfe"', "Entw&APw-rfe"),
        ('"&U,BTFw-/&ZeVnLIqe-"', "&U,BTFw-/&ZeVnLIqe-"),
        ('" leading and trailing "', " leading and trailing "),
        ('"~"', "~"),
        ('"#news.comp"', "#news.comp"),
        ('"NIL"', "NIL"),
        ('"trailing/"', "trailing"),
        ("{9+}\r\na literal", "a literal"),
    ],
)
async def test_special_names_are_made_found_and_deleted(client: Client, wire: str, name: str) -> None:
    assert (await client.do(f"CREATE {wire}"))[-1].startswith("OK [MAILBOXID")
    assert name in await listed(client)
    assert (await client.do(f"SELECT {wire}"))[-1].startswith("OK [READ-WRITE]")
    assert (await client.do(f"APPEND {wire} {{{len(LETTER)}+}}\r\n{LETTER.decode()}"))[-1].startswith("OK")
    await client.do("UNSELECT")
    assert await client.do(f"DELETE {wire}") == ["OK DELETE completed"]
    assert name not in await listed(client)


@pytest.mark.parametrize(
    "wire",
    ['""', '"/"', '"a//b"', '"/a"', '"&"', '"&APw"', '"&AGE-"', '"tab\tbed"', '"&AAc-"'],
)
async def test_names_that_cannot_be_are_refused(client: Client, wire: str) -> None:
    assert (await client.do(f"CREATE {wire}"))[-1].startswith(("NO [CANNOT]", "BAD "))


async def test_hierarchies_are_deep_but_not_bottomless(client: Client) -> None:
    deep = "/".join(["d"] * DEPTH_LIMIT)
    assert (await client.do(f"CREATE {deep}"))[-1].startswith("OK")
    assert (await client.do(f"CREATE {deep}/d"))[-1].startswith("NO [CANNOT]")
    assert (await client.do(f"RENAME d/d e/{'/'.join(['e'] * DEPTH_LIMIT)}"))[-1].startswith("NO [CANNOT]")
    assert (await client.do("RENAME d/d d/e/e/e"))[-1].startswith("NO [CANNOT]")
    assert deep in await listed(client)
    assert (await client.do(f"CREATE {'x' * 256}"))[-1].startswith("NO [CANNOT]")
