"""What an administrator does with a user's mailboxes, and what the user's sessions learn of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthouse.accounts.problem import AlreadyThere, NoSuchEntry, NotAllowed
from posthouse.admin import mailboxes, sharing
from posthouse.admin.mailboxes import Desk
from posthouse.store.mailboxes import SpecialUse
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client

BOB = "bob@example.org"


@pytest.fixture
def desk(server: Server, tmp_path: Path) -> Desk:
    return Desk(server.database, server.services.clock, tmp_path / "run")


@pytest.fixture
async def bob(server: Server) -> AsyncIterator[Client]:
    async with Client(server) as client:
        yield client


async def names(client: Client, command: str = 'LIST "" *') -> set[str]:
    return {line.rpartition(' "/" ')[2].strip('"') for line in (await client.do(command))[:-1]}


async def test_a_session_that_has_it_selected_is_sent_away(server: Server, desk: Desk, bob: Client) -> None:
    await mailboxes.create(desk, BOB, "Work")
    await server.deliver(LETTER, "Work")
    await bob.do("SELECT Work")
    assert await mailboxes.delete(desk, BOB, "Work", with_messages=True) == {"Work": 1}
    bob.send("a NOOP")
    assert await bob.line() == "* BYE The mailbox has been deleted"


async def test_sessions_that_idle_are_told_at_once(server: Server, desk: Desk, bob: Client) -> None:
    """By the command itself: nobody polls within the time of this test."""
    await server.deliver(LETTER)
    await bob.do("SELECT INBOX")
    bob.send("i IDLE")
    assert await bob.line() == "+ idling"
    await mailboxes.rename(desk, BOB, "INBOX", "Old")
    assert await bob.line() == "* 1 EXPUNGE"


async def test_what_holds_messages_is_deleted_only_on_request(
    server: Server, desk: Desk, bob: Client
) -> None:
    for name in ("Lists", "Lists/Python", "Lists/Python/Old", "Listserv"):
        await mailboxes.create(desk, BOB, name, subscribed=True)
    for _ in range(3):
        await server.deliver(LETTER, "Lists/Python/Old")
    # without a word about messages, nothing goes: neither the mailbox nor its neighbours
    with pytest.raises(NotAllowed, match="Lists/Python/Old holds 3 messages") as refused:
        await mailboxes.delete(desk, BOB, "Lists", below=True)
    assert "--with-messages" in refused.value.hint
    assert {"Lists", "Lists/Python", "Lists/Python/Old"} <= await names(bob)
    # what is above stays apart from what is below
    assert await mailboxes.delete(desk, BOB, "Lists/Python") == {"Lists/Python": 0}
    assert {"Lists", "Lists/Python/Old"} <= await names(bob)
    assert await mailboxes.delete(desk, BOB, "Lists", with_messages=True, below=True) == {
        "Lists": 0,
        "Lists/Python/Old": 3,
    }
    assert not {"Lists", "Lists/Python/Old"} & await names(bob, 'LSUB "" *')
    assert "Listserv" in await names(bob)
    # and the octets have come back to the account
    row = await server.database.read(lambda reader: reader.one("SELECT used FROM account WHERE id = 1"))
    assert row == (0,)


async def test_inbox_stays(desk: Desk, server: Server, bob: Client) -> None:
    with pytest.raises(NotAllowed, match="INBOX cannot be deleted"):
        await mailboxes.delete(desk, BOB, "inbox")
    await server.deliver(LETTER)
    assert await mailboxes.rename(desk, BOB, "INBOX", "Old") == {"INBOX": "Old"}
    assert (await bob.do("STATUS INBOX (MESSAGES)"))[0] == '* STATUS "INBOX" (MESSAGES 0)'
    assert (await bob.do("STATUS Old (MESSAGES)"))[0] == '* STATUS "Old" (MESSAGES 1)'


async def test_a_mailbox_is_renamed_with_those_below_and_their_subscriptions(desk: Desk, bob: Client) -> None:
    assert await mailboxes.create(desk, BOB, "Lists/Python", subscribed=True) == ["Lists", "Lists/Python"]
    assert await mailboxes.rename(desk, BOB, "Lists", "Groups/Mail") == {
        "Lists": "Groups/Mail",
        "Lists/Python": "Groups/Mail/Python",
    }
    assert {"Groups", "Groups/Mail", "Groups/Mail/Python"} <= await names(bob)
    assert "Groups/Mail/Python" in await names(bob, 'LSUB "" *')
    assert not {name for name in await names(bob, 'LSUB "" *') if name.startswith("Lists")}


async def test_special_uses_are_given_and_taken(desk: Desk, bob: Client) -> None:
    with pytest.raises(NotAllowed, match="Mailbox Junk is"):
        await mailboxes.create(desk, BOB, "Spam", special=SpecialUse.JUNK)
    assert await mailboxes.set_special_use(desk, BOB, "Junk", None) == "Junk"
    await mailboxes.create(desk, BOB, "Spam", special=SpecialUse.JUNK)
    boxes = {box.name: box.special for box in await mailboxes.every(desk.database, BOB)}
    assert (boxes["Junk"], boxes["Spam"], boxes["Sent"]) == ("", "\\Junk", "\\Sent")
    assert await names(bob, 'LIST (SPECIAL-USE) "" *') >= {"Spam", "Sent"}


async def test_a_user_can_be_subscribed_to_what_others_share(desk: Desk, server: Server) -> None:
    work = "Other Users/bob@example.org/Work"
    await mailboxes.create(desk, BOB, "Work")
    with pytest.raises(NoSuchEntry, match="There is no mailbox Other Users"):
        await mailboxes.subscribe(desk, "eve@example.org", work)
    await sharing.share(desk, BOB, "Work", "eve@example.org", "lr")
    assert await mailboxes.subscribe(desk, "eve@example.org", work) == work
    async with Client(server, "eve") as eve:
        assert work in await names(eve, 'LSUB "" *')
        assert await mailboxes.unsubscribe(desk, "eve@example.org", work) == work
        assert work not in await names(eve, 'LSUB "" *')
    with pytest.raises(NoSuchEntry, match="There is no subscription"):
        await mailboxes.unsubscribe(desk, "eve@example.org", work)


async def test_what_cannot_be_is_said(desk: Desk) -> None:
    with pytest.raises(AlreadyThere, match="Mailbox Sent exists already"):
        await mailboxes.create(desk, BOB, "Sent")
    with pytest.raises(AlreadyThere, match="Mailbox Sent exists already"):
        await mailboxes.rename(desk, BOB, "Trash", "Sent")
    with pytest.raises(NotAllowed, match="empty level"):
        await mailboxes.create(desk, BOB, "a//b")
    with pytest.raises(NotAllowed, match="other users' mailboxes"):
        await mailboxes.create(desk, BOB, "Shared/info@example.org")
    with pytest.raises(NotAllowed, match="other users' mailboxes"):
        await mailboxes.rename(desk, BOB, "Trash", "Other Users/x")
    with pytest.raises(NotAllowed, match="its own child"):
        await mailboxes.rename(desk, BOB, "Trash", "Trash/Deeper")
    with pytest.raises(NoSuchEntry) as refused:
        await mailboxes.delete(desk, BOB, "Trahs")
    assert refused.value.hint == "Did you mean Trash?"
    with pytest.raises(NoSuchEntry, match="There is no account"):
        await mailboxes.create(desk, "nobody@example.org", "x")
