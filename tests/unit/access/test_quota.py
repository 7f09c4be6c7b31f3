"""What an account stores and may store, as its client is told (RFC 9208)."""

from __future__ import annotations

from tests.unit.access.conftest import PREFIX, Server
from tests.unit.access.test_sessions import Client

LETTER = b"Subject: x\r\n\r\n" + b"y" * 3000 + b"\r\n"
SIZE = len(PREFIX) + len(LETTER)


async def test_a_quota_is_told_in_units_of_1024_octets(server: Server) -> None:
    # given a quota that is no whole number of units, and two letters that end within one
    await server.database.write([], lambda tx: tx.run("UPDATE account SET quota = 10500 WHERE id = 1"))
    for _ in range(2):
        await server.deliver(LETTER)
    assert 2 * SIZE % 1024
    used = 2 * SIZE // 1024 + 1
    async with Client(server) as client:
        assert await client.do('GETQUOTA ""') == [f'* QUOTA "" (STORAGE {used} 10)', "OK GETQUOTA completed"]
        assert await client.do("GETQUOTAROOT Sent") == [
            '* QUOTAROOT "Sent" ""',
            f'* QUOTA "" (STORAGE {used} 10)',
            "OK GETQUOTAROOT completed",
        ]
        # RFC 9208 §4.1.4: what an EXPUNGE would free
        await client.do("SELECT INBOX")
        await client.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        lines = await client.do("STATUS INBOX (DELETED DELETED-STORAGE SIZE)")
        assert lines[0] == f'* STATUS "INBOX" (DELETED 1 DELETED-STORAGE {SIZE} SIZE {2 * SIZE})'


async def test_without_a_quota_there_is_no_limit_to_tell(server: Server) -> None:
    async with Client(server) as client:
        assert (await client.do('GETQUOTA ""'))[0] == '* QUOTA "" ()'
        assert (await client.do('GETQUOTA "other"'))[-1].startswith("NO [NONEXISTENT]")
        assert (await client.do("GETQUOTAROOT nowhere"))[0] == '* QUOTAROOT "nowhere" ""'
