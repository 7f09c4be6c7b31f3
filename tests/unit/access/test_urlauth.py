"""URLs that let others have a message or a part of one (RFC 4467)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from posthouse.access.imap.urlauth import for_submission
from posthouse.mail.reply import URL_NOT_AUTHORIZED, URL_NOT_RESOLVED, URL_OF_ANOTHER_SERVER, Reply
from tests.unit.access.conftest import PREFIX, Server
from tests.unit.access.test_catenate import MIXED
from tests.unit.access.test_sessions import Client

BOB = "imap://bob%40example.org@mail.example.org"
PART = f"{BOB}/INBOX/;UID=1/;SECTION=1"


@pytest.fixture
async def bob(server: Server) -> AsyncIterator[Client]:
    await server.deliver(MIXED)
    async with Client(server) as client:
        yield client


@pytest.fixture
async def eve(server: Server) -> AsyncIterator[Client]:
    async with Client(server, "eve") as client:
        yield client


async def signed(client: Client, *urls: str) -> list[str]:
    """The URLs, signed by the user of a session."""
    lines = await client.do("GENURLAUTH " + " ".join(f'"{url}" INTERNAL' for url in urls))
    assert lines[-1] == "OK GENURLAUTH completed", lines
    return re.findall(r'"([^"]*)"', lines[0])


async def fetched(client: Client, url: str) -> list[str]:
    lines = await client.do(f'URLFETCH "{url}"')
    assert lines[-1] == "OK URLFETCH completed"
    assert lines[0].startswith(f'* URLFETCH "{url}" ')
    return [lines[0].rpartition(" ")[2], *lines[1:-1]]


async def test_a_signed_url_conveys_the_part_that_it_names(bob: Client, eve: Client) -> None:
    # given
    [part, some] = await signed(bob, f"{PART};URLAUTH=anonymous", f"{PART}/;PARTIAL=6.4;URLAUTH=authuser")
    assert re.fullmatch(re.escape(f"{PART};URLAUTH=anonymous:internal:01") + "[0-9a-f]{64}", part)
    # when, then: to others, whatever mailbox they have open, and unseen
    await eve.do("SELECT Sent")
    assert await fetched(eve, part) == ["{10}", "first part"]
    assert await fetched(eve, some) == ["{4}", "part"]
    lines = await eve.do(f'URLFETCH "{part}" "{some}"')
    assert [line for line in lines if not line.startswith("*")] == [
        "first part",
        "part",
        "OK URLFETCH completed",
    ]
    await bob.do("SELECT INBOX")
    assert (await bob.do("FETCH 1 FLAGS"))[0] == "* 1 FETCH (FLAGS (\\Recent))"


async def test_only_those_whom_it_names_may_use_it(bob: Client, eve: Client) -> None:
    [hers, his, submitted] = await signed(
        bob,
        f"{PART};URLAUTH=user+eve%40example.org",
        f"{PART};URLAUTH=user+bob%40example.org",
        f"{PART};URLAUTH=submit+eve%40example.org",
    )
    assert await fetched(eve, hers) == ["{10}", "first part"]
    assert await fetched(bob, hers) == ["NIL"]
    assert await fetched(eve, his) == ["NIL"]
    assert await fetched(bob, his) == ["{10}", "first part"]
    assert await fetched(eve, submitted) == ["NIL"]


async def test_what_was_changed_or_made_up_conveys_nothing(bob: Client, eve: Client) -> None:
    [url] = await signed(bob, f"{PART};URLAUTH=anonymous")
    forged = [
        url.replace("SECTION=1", "SECTION=2"),
        url.replace("UID=1", "uid=1"),
        url.replace("INBOX", "inbox"),
        url.replace("anonymous", "authuser"),
        url.replace(":internal:", ":other:"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace(":01", ":02"),
        url.replace("bob", "eve"),
        url.replace("bob", "nobody"),
        url.replace("mail.example.org", "elsewhere.example"),
        url.partition(":internal")[0],
        PART,
        f"{BOB}/INBOX",
        "nonsense",
    ]
    for text in forged:
        assert await fetched(eve, text) == ["NIL"], text
    # the name of the mechanism and the digits are the same in capitals
    rump, _, token = url.rpartition(":internal:")
    assert await fetched(eve, f"{rump}:INTERNAL:{token.upper()}") == ["{10}", "first part"]


async def test_an_expired_url_conveys_nothing(bob: Client) -> None:
    [old, new] = await signed(
        bob,
        f"{PART};EXPIRE=2001-01-01T00:00:00Z;URLAUTH=anonymous",
        f"{PART};EXPIRE=2999-01-01T00:00:00.5+02:00;URLAUTH=anonymous",
    )
    assert await fetched(bob, old) == ["NIL"]
    assert await fetched(bob, new) == ["{10}", "first part"]
    assert await fetched(bob, new.replace("2999", "2998")) == ["NIL"]


async def test_taking_back_the_key_revokes_all_that_it_signed(bob: Client) -> None:
    await bob.do("COPY 1 Sent")
    await bob.do("SELECT INBOX")
    await bob.do("COPY 1 Sent")
    sent = f"{BOB}/Sent/;UID=1;URLAUTH=anonymous"
    [inbox, other] = await signed(bob, f"{PART};URLAUTH=anonymous", sent)
    assert (await bob.do("RESETKEY INBOX INTERNAL"))[-1] == "OK [URLMECH INTERNAL] RESETKEY completed"
    assert await fetched(bob, inbox) == ["NIL"]
    assert (await fetched(bob, other))[0] != "NIL"
    [inbox] = await signed(bob, f"{PART};URLAUTH=anonymous")
    assert await fetched(bob, inbox) == ["{10}", "first part"]
    assert (await bob.do("RESETKEY"))[-1] == "OK RESETKEY completed"
    assert await fetched(bob, inbox) == ["NIL"]
    assert await fetched(bob, other) == ["NIL"]
    assert (await bob.do("RESETKEY INBOX XSAMPLE"))[-1].startswith("NO [URLMECH INTERNAL]")


async def test_sessions_that_have_the_mailbox_open_hear_of_a_new_key(
    server: Server, bob: Client, eve: Client
) -> None:
    # RFC 4467 §7: those of the same user, and no others
    await bob.do("SETACL INBOX eve lr")
    await eve.do('SELECT "Other Users/bob@example.org/INBOX"')
    async with Client(server) as open_one, Client(server) as idle_one, Client(server) as elsewhere:
        await open_one.do("SELECT INBOX")
        await elsewhere.do("SELECT Sent")
        await idle_one.do("SELECT INBOX")
        idle_one.send("i IDLE")
        assert await idle_one.line() == "+ idling"
        await signed(bob, f"{PART};URLAUTH=anonymous")
        for command in ("RESETKEY INBOX", "RESETKEY"):
            await bob.do(command)
            told = "* OK [URLMECH INTERNAL] URLs of its messages have to be signed anew"
            assert await open_one.do("NOOP") == [told, "OK NOOP completed"]
            assert await idle_one.line() == told
            assert await open_one.do("NOOP") == ["OK NOOP completed"]
            assert await elsewhere.do("NOOP") == ["OK NOOP completed"]
            assert await eve.do("NOOP") == ["OK NOOP completed"]


async def test_a_mailbox_of_the_same_name_is_another_one(bob: Client) -> None:
    await bob.do("CREATE Box")
    await bob.do("SELECT INBOX")
    await bob.do("COPY 1 Box")
    [url] = await signed(bob, f"{BOB}/Box/;UID=1/;SECTION=1;URLAUTH=anonymous")
    assert await fetched(bob, url) == ["{10}", "first part"]
    await bob.do("DELETE Box")
    await bob.do("CREATE Box")
    await bob.do("COPY 1 Box")
    assert await fetched(bob, url) == ["NIL"]


async def test_a_url_of_a_shared_mailbox_is_worth_what_its_giver_may_read(
    server: Server, bob: Client, eve: Client
) -> None:
    await bob.do("SETACL INBOX eve lr")
    shared = (
        "imap://eve%40example.org@mail.example.org/Other%20Users/bob%40example.org/INBOX/;UID=1/;SECTION=1"
    )
    [url] = await signed(eve, f"{shared};URLAUTH=anonymous")
    assert await fetched(bob, url) == ["{10}", "first part"]
    # each has keys of his own
    await bob.do("RESETKEY INBOX")
    assert await fetched(bob, url) == ["{10}", "first part"]
    await bob.do("DELETEACL INBOX eve")
    assert await fetched(bob, url) == ["NIL"]


async def test_nobody_signs_what_is_not_his(bob: Client) -> None:
    bad = [
        PART,
        "imap://mail.example.org/INBOX/;UID=1;URLAUTH=anonymous",
        f"{BOB}/Nowhere/;UID=1;URLAUTH=anonymous",
        f"{BOB}/INBOX;URLAUTH=anonymous",
        f"{PART};URLAUTH=user+",
        f"{PART};URLAUTH=anonymous+x",
        f"{PART};EXPIRE=soon;URLAUTH=anonymous",
        f"{PART};URLAUTH=anonymous".replace("bob", "eve"),
        f"{PART};URLAUTH=anonymous".replace("mail.", "other."),
        f"{PART};URLAUTH=anonymous:internal:{'0' * 32}",
    ]
    for url in bad:
        assert (await bob.do(f'GENURLAUTH "{url}" INTERNAL'))[-1].startswith("BAD Cannot sign"), url
    lines = await bob.do(f'GENURLAUTH "{PART};URLAUTH=anonymous" XSAMPLE')
    assert lines == ["NO [URLMECH INTERNAL] The only mechanism is INTERNAL"]


async def test_a_large_message_comes_whole(server: Server, bob: Client) -> None:
    large = b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 20_000
    await server.deliver(large)
    [url] = await signed(bob, f"{BOB}/INBOX/;UID=2;URLAUTH=anonymous")
    size = len(PREFIX) + len(large)
    lines = await fetched(bob, url)
    assert lines[0] == f"{{{size}}}"
    assert sum(len(line) + 2 for line in lines[1:]) == size + 2  # the message ends with a line end of its own


async def test_select_tells_how_urls_are_signed(bob: Client) -> None:
    assert any(line.startswith("* OK [URLMECH INTERNAL] ") for line in await bob.do("EXAMINE INBOX"))


async def test_submission_takes_ones_own_mail_and_what_is_signed_for_one(server: Server, bob: Client) -> None:
    async def taken(login: str, url: str) -> bytes | Reply:
        found = await for_submission(server.services, login, url)
        return found if isinstance(found, Reply) else b"".join([octets async for octets in found.read()])

    [his, hers, anybodys] = await signed(
        bob,
        f"{PART};URLAUTH=submit+bob%40example.org",
        f"{PART};URLAUTH=submit+eve%40example.org",
        f"{PART};URLAUTH=anonymous",
    )
    bob_, eve_ = "bob@example.org", "eve@example.org"
    assert await taken(bob_, his) == b"first part"
    assert await taken(bob_, PART) == b"first part"
    assert await taken(bob_, PART.replace("bob%40example.org@", "")) == b"first part"
    assert await taken(eve_, hers) == b"first part"
    assert await taken(eve_, anybodys) == b"first part"
    assert await taken(eve_, his) == URL_NOT_AUTHORIZED
    assert await taken(bob_, hers) == URL_NOT_AUTHORIZED
    assert await taken(eve_, PART) == URL_NOT_AUTHORIZED
    assert await taken("uid:0", PART) == URL_NOT_AUTHORIZED
    assert await taken(bob_, his[:-1]) == URL_NOT_AUTHORIZED
    assert await taken(bob_, PART.replace("UID=1", "UID=9")) == URL_NOT_RESOLVED
    assert await taken(bob_, f"{BOB}/INBOX") == URL_NOT_RESOLVED
    assert await taken(bob_, "/INBOX/;UID=1") == URL_NOT_RESOLVED
    assert await taken(bob_, PART.replace("mail.", "other.")) == URL_OF_ANOTHER_SERVER
    await bob.do("RESETKEY INBOX")
    assert await taken(bob_, his) == URL_NOT_AUTHORIZED
