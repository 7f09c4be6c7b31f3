"""FILTER: a search that the server keeps under a name (RFC 5466)."""

from __future__ import annotations

from posthouse.mail.envelope import AccountId
from posthouse.store import metadata
from posthouse.store.metadata import SERVER, Where
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client

VALUES = "/private/filters/values"


async def test_a_name_stands_for_its_search(server: Server) -> None:
    for subject in ("one", "two", "three"):
        await server.deliver(f"Subject: {subject}\r\nFrom: boss@example.org\r\n\r\nx\r\n".encode())
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        lines = await client.do(f'SETMETADATA "" ({VALUES}/boss "FROM boss@example.org UNSEEN")')
        assert lines[-1].startswith("OK ")
        # a filter may name another
        await client.do(f'SETMETADATA "" ({VALUES}/short "OR SUBJECT one SUBJECT two FILTER boss")')
        assert (await client.do("SEARCH FILTER short"))[0] == "* SEARCH 1 2"
        await client.do("STORE 1 +FLAGS (\\Seen)")
        assert (await client.do("SEARCH NOT FILTER SHORT"))[0] == "* SEARCH 1 3"
        assert (await client.do("SORT (REVERSE ARRIVAL) UTF-8 FILTER boss"))[0] == "* SORT 2 3"
        assert (await client.do("THREAD REFERENCES UTF-8 FILTER short"))[0] == "* THREAD (2)"
        assert "UID ALL 2" in (await client.do("ESEARCH IN (inboxes) FILTER short"))[0]
        # RFC 5466 §3.1: it is inserted as it stands, numbers and all
        await client.do(f'SETMETADATA "" ({VALUES}/first "1:2")')
        assert (await client.do("SEARCH FILTER first UNSEEN"))[0] == "* SEARCH 2"


async def test_what_an_administrator_has_set_is_everybodys(server: Server) -> None:
    await server.deliver(b"Subject: x\r\n\r\n")
    where = Where(SERVER, 0, SERVER)
    await server.database.write(
        [], lambda tx: metadata.put(tx, where, {"/shared/filters/values/all": b"UNSEEN"})
    )
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        assert (await client.do("SEARCH FILTER all"))[0] == "* SEARCH 1"
        # one's own goes before it
        await client.do(f'SETMETADATA "" ({VALUES}/all "SEEN")')
        assert (await client.do("SEARCH FILTER all"))[0] == "* SEARCH"


async def test_what_is_no_filter_is_said(server: Server) -> None:
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        await client.do(f'SETMETADATA "" ({VALUES}/round "FILTER round")')
        # what is no search is not kept (RFC 5466 §3.2)
        assert (await client.do(f'SETMETADATA "" ({VALUES}/wrong "OR SMALLER")'))[-1].startswith(
            "NO [CANNOT]"
        )
        await server.database.write(
            [],
            lambda tx: metadata.put(tx, Where(SERVER, 0, AccountId(1)), {f"{VALUES}/wrong": b"FRUM x"}),
        )
        many = " ".join(["FILTER %s"] * 50)
        for number in range(9):
            await client.do(f'SETMETADATA "" ({VALUES}/f{number} "{many % ((f"f{number + 1}",) * 50)}")')
        await client.do(f'SETMETADATA "" ({VALUES}/f9 "SEEN")')
        for name in ("nowhere", "round", "wrong"):
            assert (await client.do(f"SEARCH FILTER {name}"))[-1].startswith(f"NO [UNDEFINED-FILTER {name}] ")
        # filters that would grow without end are refused before they do
        assert "names too many others" in (await client.do("SEARCH FILTER f0"))[-1]
