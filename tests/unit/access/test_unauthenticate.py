"""UNAUTHENTICATE: another user on the same connection sees nothing of the first (RFC 8437)."""

from __future__ import annotations

import dataclasses

from posthouse.protocol.imap.offers import Offers
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client


async def test_the_next_user_begins_anew(server: Server) -> None:
    await server.deliver(LETTER)
    async with Client(server) as client:
        # given a user who has opened a mailbox and turned on IMAP4rev2
        assert "UNAUTHENTICATE" in (await client.do("CAPABILITY"))[0].split()
        await client.do("ENABLE IMAP4rev2")
        assert "* 1 EXISTS" in await client.do("SELECT INBOX")
        # when the connection is given to another
        assert (await client.do("UNAUTHENTICATE"))[-1].startswith("OK [CAPABILITY ")
        assert (await client.do("SELECT INBOX"))[-1] == "BAD SELECT: log in first"
        assert (await client.do("LOGIN eve secret"))[-1].startswith("OK ")
        # then he has his own mail, and speaks IMAP4rev1
        lines = await client.do("SELECT INBOX")
        assert "* 0 EXISTS" in lines
        assert "* 0 RECENT" in lines
        # and what happens to the first is not said any more
        await server.deliver(LETTER)
        assert await client.do("NOOP") == ["OK NOOP completed"]


async def test_it_may_be_turned_off(server: Server) -> None:
    # RFC 8437 §8: where a proxy decides who may log in
    server.services = dataclasses.replace(server.services, imap=Offers(unauthenticate=False))
    async with Client(server) as client:
        assert "UNAUTHENTICATE" not in (await client.do("CAPABILITY"))[0].split()
        assert await client.do("UNAUTHENTICATE") == ["BAD Unknown command UNAUTHENTICATE"]
        assert (await client.do("SELECT INBOX"))[-1].startswith("OK ")


async def test_whatever_is_allowed_before_login_is_answered_then_too(server: Server) -> None:
    commands = ["NOOP", "CAPABILITY", 'ID ("name" "checker")', "LANGUAGE", "LANGUAGE zh", "NOOP", "LOGOUT"]
    # given a connection on which nobody has logged in yet, and one on which nobody is logged in any more
    for user in ("nobody", "bob"):
        async with Client(server, user) as client:
            if user == "bob":
                await client.do("SELECT INBOX")
                await client.do("NOTIFY SET (selected (MessageNew MessageExpunge))")
                assert (await client.do("UNAUTHENTICATE"))[-1].startswith("OK ")
            # when a client, or what watches over the server, says what is always allowed, then it is answered
            assert [(await client.do(command))[-1][:3] for command in commands] == ["OK "] * len(commands)
