"""Mailboxes that several users share: who sees them, and what they may do there (RFC 4314, RFC 2342)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.access.conftest import PREFIX, Server
from tests.unit.access.test_sessions import LETTER, Client

INBOX = '"Other Users/bob@example.org/INBOX"'
WORK = '"Other Users/bob@example.org/Work"'
SIZE = len(PREFIX) + len(LETTER)


@pytest.fixture
async def bob(server: Server) -> AsyncIterator[Client]:
    """Has two letters in INBOX and one in Work."""
    for _ in range(2):
        await server.deliver(LETTER)
    async with Client(server) as client:
        await client.do("ENABLE IMAP4rev2")
        await client.do("CREATE Work")
        await client.do("SELECT INBOX")
        await client.do("COPY 1 Work")
        await client.do("UNSELECT")
        yield client


@pytest.fixture
async def eve(server: Server) -> AsyncIterator[Client]:
    async with Client(server, "eve") as client:
        yield client


async def names(client: Client, command: str = 'LIST "" *') -> set[str]:
    return {line.rpartition(' "/" ')[2].strip('"') for line in (await client.do(command))[:-1]}


NOWHERE = "NO [NONEXISTENT] There is no mailbox "


async def test_what_may_be_seen_and_not_read_cannot_be_selected(bob: Client, eve: Client) -> None:
    # RFC 5819 §2
    await bob.do("SETACL Work eve@example.org l")
    lines = await eve.do(f'LIST "" {WORK} RETURN (STATUS (MESSAGES))')
    assert lines == [f'* LIST (\\Noselect \\HasNoChildren) "/" {WORK}', "OK LIST completed"]
    await bob.do("SETACL Work eve@example.org lr")
    lines = await eve.do(f'LIST "" {WORK} RETURN (STATUS (MESSAGES))')
    assert lines[0] == f'* LIST (\\HasNoChildren) "/" {WORK}'


async def test_what_is_shared_is_seen_below_other_users_and_all_else_is_not_there(
    bob: Client, eve: Client
) -> None:
    own = await names(eve)
    assert await names(eve, 'LIST "" "Other Users/*"') == set()
    assert (await eve.do(f"SELECT {WORK}"))[-1] == NOWHERE + WORK.strip('"')
    # when
    assert await bob.do("SETACL Work eve@example.org lr") == ["OK SETACL completed"]
    # then
    assert await names(eve) - own == {
        "Other Users",
        "Other Users/bob@example.org",
        "Other Users/bob@example.org/Work",
    }
    lines = await eve.do('LIST "" "Other Users/%/%" RETURN (CHILDREN STATUS (MESSAGES) MYRIGHTS)')
    assert lines[:-1] == [
        f'* LIST (\\HasNoChildren) "/" {WORK}',
        f"* STATUS {WORK} (MESSAGES 1)",
        f'* MYRIGHTS {WORK} "lr"',
    ]
    assert (await eve.do("NAMESPACE"))[0] == (
        '* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Shared/" "/"))'
    )
    lines = await eve.do(f"SELECT {WORK}")
    assert "* 1 EXISTS" in lines
    assert "* OK [PERMANENTFLAGS ()] What can be kept" in lines
    assert lines[-1].startswith("OK [READ-ONLY]")
    assert (await eve.do("FETCH 1 (RFC822.SIZE)"))[0] == f"* 1 FETCH (RFC822.SIZE {SIZE})"
    # and INBOX is still nowhere
    assert (await eve.do(f"STATUS {INBOX} (MESSAGES)"))[-1] == NOWHERE + INBOX.strip('"')


async def test_the_names_of_others_are_understood_in_any_spelling(bob: Client, eve: Client) -> None:
    await bob.do("SETACL INBOX eve lr")
    assert (await eve.do('STATUS "Other Users/BOB@Example.ORG/inbox" (MESSAGES)'))[0] == (
        f"* STATUS {INBOX} (MESSAGES 2)"
    )


async def test_rights_are_listed_and_changed_as_rfc_4314_says(bob: Client, eve: Client) -> None:
    every = "lrswipkxteacd"
    assert (await bob.do("MYRIGHTS INBOX"))[0] == f'* MYRIGHTS "INBOX" "{every}"'
    assert (await bob.do("GETACL INBOX"))[0] == f'* ACL "INBOX" "bob@example.org" "{every}"'
    await bob.do("SETACL INBOX eve@example.org lrsd")
    await bob.do("SETACL INBOX Eve@Example.org +k")
    await bob.do("SETACL INBOX eve -s")
    await bob.do("SETACL INBOX -eve t")
    await bob.do('SETACL INBOX anyone "l"')
    assert (await bob.do("GETACL INBOX"))[0] == (
        f'* ACL "INBOX" "bob@example.org" "{every}" "anyone" "l"'
        ' "eve@example.org" "lrktecd" "-eve@example.org" "td"'
    )
    assert (await eve.do(f"MYRIGHTS {INBOX}"))[0] == f'* MYRIGHTS {INBOX} "lrkecd"'
    assert (await bob.do("LISTRIGHTS INBOX Eve"))[0] == (
        '* LISTRIGHTS "INBOX" "Eve" "" "l" "r" "s" "w" "i" "p" "k" "x" "t" "e" "a" "c" "d"'
    )
    assert (await bob.do("LISTRIGHTS INBOX bob"))[0] == f'* LISTRIGHTS "INBOX" "bob" "{every}"'
    # what cannot be
    assert (await bob.do("SETACL INBOX eve lrQ"))[-1] == "BAD There is no right 'Q'"
    assert (await bob.do('SETACL INBOX "" l'))[-1].startswith("BAD")
    assert (await bob.do("SETACL INBOX bob lr"))[-1].startswith("NO [CANNOT]")
    assert (await bob.do("SETACL INBOX nobody lr"))[-1].startswith("NO [CANNOT] There is no user nobody@")
    assert (await bob.do("SETACL nowhere eve lr"))[-1] == NOWHERE + "nowhere"
    # without `a` nobody else may look at them or change them
    for command in ("GETACL {}", "SETACL {} eve a", "DELETEACL {} eve", "LISTRIGHTS {} eve"):
        assert (await eve.do(command.format(INBOX)))[-1].startswith("NO [NOPERM]")
    # and they go
    await bob.do("DELETEACL INBOX eve")
    await bob.do("DELETEACL INBOX -eve")
    await bob.do("DELETEACL INBOX anyone")
    assert (await bob.do("GETACL INBOX"))[0] == f'* ACL "INBOX" "bob@example.org" "{every}"'
    assert (await eve.do(f"MYRIGHTS {INBOX}"))[-1].startswith(NOWHERE)


async def test_who_may_administer_may_share_on(bob: Client, eve: Client, server: Server) -> None:
    await bob.do("SETACL Work eve la")
    await eve.do(f"SETACL {WORK} mallory@example.net lr")
    async with Client(server, "mallory") as mallory:
        assert await names(mallory, 'LIST "" "Other Users/*/*"') == {WORK.strip('"')}


async def test_anyone_is_every_user_of_the_domain_and_nobody_of_another(
    bob: Client, eve: Client, server: Server
) -> None:
    await bob.do("SETACL Work anyone lr")
    assert (await eve.do(f"EXAMINE {WORK}"))[-1].startswith("OK [READ-ONLY]")
    async with Client(server, "mallory") as mallory:
        assert await names(mallory, 'LIST "" "Other Users*"') == set()
        assert (await mallory.do(f"EXAMINE {WORK}"))[-1].startswith(NOWHERE)


@pytest.mark.parametrize(
    ("rights", "asked", "kept"),
    [
        ("lrs", "+FLAGS (\\Seen \\Flagged)", "\\Seen"),
        ("lrw", "FLAGS (\\Seen \\Flagged $Junk)", "\\Flagged $Junk"),
        ("lrt", "+FLAGS (\\Deleted $Junk)", "\\Deleted"),
        ("lrst", "FLAGS ()", ""),
        ("lrw", "+FLAGS (\\Seen)", None),
        ("lrs", "+FLAGS ($Junk)", None),
        ("lri", "+FLAGS (\\Seen)", None),
        ("lr", "+FLAGS (\\Seen)", None),
    ],
)
async def test_flags_are_set_as_far_as_rights_go(
    bob: Client, eve: Client, rights: str, asked: str, kept: str | None
) -> None:
    await bob.do(f"SETACL Work eve {rights}")
    await eve.do(f"SELECT {WORK}")
    lines = await eve.do(f"STORE 1 {asked}")
    if kept is None:
        assert lines[-1].startswith("NO [NOPERM]")
        kept = ""
    else:
        assert lines[-1] == "OK STORE completed"
    await bob.do("EXAMINE Work")
    assert (await bob.do("FETCH 1 (FLAGS)"))[0] == f"* 1 FETCH (FLAGS ({kept}))"


async def test_what_may_not_be_changed_stays_as_it_was(bob: Client, eve: Client) -> None:
    await bob.do("SELECT Work")
    await bob.do("STORE 1 FLAGS (\\Deleted \\Seen $Old)")
    await bob.do("SETACL Work eve lrsi")
    await eve.do("ENABLE IMAP4rev2")
    lines = await eve.do(f"SELECT {WORK}")
    assert "* OK [PERMANENTFLAGS (\\Seen)] What can be kept" in lines
    assert lines[-1].startswith("OK [READ-WRITE]")
    # RFC 3501 §6.4.6: what .SILENT would hide is told where it is other than was asked for
    lines = await eve.do("STORE 1 FLAGS.SILENT (\\Draft)")
    assert lines[-1].startswith("NO [NOPERM]")
    lines = await eve.do("STORE 1 FLAGS.SILENT ()")
    assert lines == ["* 1 FETCH (UID 1 FLAGS (\\Deleted $Old))", "OK STORE completed"]
    # and a fetch sets \\Seen with `s`, which comes with what else is new
    assert "* 1 FETCH (UID 1 FLAGS (\\Deleted \\Seen $Old))" in await eve.do("FETCH 1 (BODY[HEADER])")
    await bob.do("SETACL Work eve -s")
    await bob.do("STORE 1 -FLAGS (\\Seen)")
    lines = await eve.do("FETCH 1 (BODY[HEADER])")
    assert "* OK [PERMANENTFLAGS ()] What can be kept" in lines
    assert (await bob.do("FETCH 1 (FLAGS)"))[0] == "* 1 FETCH (FLAGS (\\Deleted $Old))"


async def test_expunge_close_and_move_need_their_rights(bob: Client, eve: Client) -> None:
    await bob.do("SELECT Work")
    await bob.do("STORE 1 +FLAGS (\\Deleted)")
    await bob.do("SETACL Work eve lrt")
    await eve.do(f"SELECT {WORK}")
    assert (await eve.do("EXPUNGE"))[-1].startswith("NO [NOPERM]")
    assert (await eve.do("UID EXPUNGE 1"))[-1].startswith("NO [NOPERM]")
    assert (await eve.do("MOVE 1 INBOX"))[-1].startswith("NO [NOPERM]")
    assert (await eve.do("CLOSE")) == ["OK CLOSE completed"]
    assert await bob.do("NOOP") == ["OK NOOP completed"]
    await bob.do("SETACL Work eve +e")
    await eve.do(f"SELECT {WORK}")
    assert (await eve.do("EXPUNGE"))[0] == "* 1 EXPUNGE"
    assert (await bob.do("NOOP"))[0] == "* 1 EXPUNGE"


async def test_messages_are_copied_and_moved_between_accounts(
    bob: Client, eve: Client, server: Server
) -> None:
    # given
    await server.database.write([], lambda tx: tx.run(f"UPDATE account SET quota = {2 * SIZE} WHERE id = 2"))
    await bob.do("SETACL INBOX eve lrte")
    await bob.do("SETACL Work eve lriw")
    await eve.do(f"SELECT {INBOX}")
    # when she takes one into her own INBOX, it is hers
    assert "COPYUID" in (await eve.do("COPY 1 INBOX"))[-1]
    assert (await eve.do("MOVE 2 INBOX"))[1] == "* 2 EXPUNGE"
    status = f'* STATUS "INBOX" (MESSAGES 2 SIZE {2 * SIZE})'
    assert (await eve.do("STATUS INBOX (MESSAGES SIZE)"))[0] == status
    # until the quota is used up: it is that of the owner of the target
    assert (await eve.do("COPY 1 INBOX"))[-1].startswith("NO [OVERQUOTA]")
    used = await server.database.read(lambda reader: reader.all("SELECT used FROM account ORDER BY id"))
    assert [octets for (octets,) in used] == [2 * SIZE, 2 * SIZE, 0]
    # and what she puts into his has the flags that she may set there
    await eve.do("SELECT INBOX")
    await eve.do("STORE 1 +FLAGS (\\Seen \\Deleted \\Flagged)")
    await eve.do(f"COPY 1 {WORK}")
    assert (
        "APPENDUID"
        in (await eve.do(f"APPEND {WORK} (\\Seen $Junk) {{{len(LETTER)}+}}\r\n{LETTER.decode()}"))[-1]
    )
    await bob.do("EXAMINE Work")
    assert (await bob.do("FETCH 2:3 (FLAGS)"))[:2] == [
        "* 2 FETCH (FLAGS (\\Flagged))",
        "* 3 FETCH (FLAGS ($Junk))",
    ]
    # without `i` nothing comes in, and nothing is said of what she may not see
    assert (await eve.do(f"COPY 1 {INBOX}"))[-1].startswith("NO [NOPERM]")
    for command in ("COPY 1", "MOVE 1"):
        assert (await eve.do(f'{command} "Other Users/bob@example.org/Sent"'))[-1].startswith(NOWHERE)


async def test_a_move_between_accounts_is_told_to_both(bob: Client, eve: Client) -> None:
    await bob.do("SETACL INBOX eve lrte")
    await bob.do("SELECT INBOX")
    await eve.do(f"SELECT {INBOX}")
    await eve.do("MOVE 1 INBOX")
    assert (await bob.do("NOOP"))[0] == "* 1 EXPUNGE"
    assert (await eve.do("FETCH 1 (UID)"))[0] == "* 1 FETCH (UID 2)"


async def test_idle_watches_the_account_of_the_owner_and_ends_with_the_right_to_read(
    bob: Client, eve: Client, server: Server
) -> None:
    await bob.do("SETACL INBOX eve lr")
    await eve.do("ENABLE IMAP4rev2")
    await eve.do(f"SELECT {INBOX}")
    eve.send("i IDLE")
    assert await eve.line() == "+ idling"
    await server.deliver(LETTER)
    assert await eve.line() == "* 3 EXISTS"
    eve.send("DONE")
    assert await eve.line() == "i OK IDLE completed"
    # when
    await bob.do("DELETEACL INBOX eve")
    # then
    eve.send("f FETCH 1 (FLAGS)")
    assert await eve.line() == "* BYE You may no longer read this mailbox"


async def test_mailboxes_are_made_renamed_and_deleted_by_right(bob: Client, eve: Client) -> None:
    space = "Other Users/bob@example.org"
    await bob.do("SETACL Work eve lrk")
    made = await eve.do(f'CREATE "{space}/Work/2026/May"')
    assert made[-1].startswith("OK [MAILBOXID")
    # what is made has the rights of what is above it
    assert (await eve.do(f'MYRIGHTS "{space}/Work/2026/May"'))[0].endswith('"lrkc"')
    assert (await eve.do(f'CREATE "{space}/Work/2026"'))[-1].startswith("NO [ALREADYEXISTS]")
    assert (await eve.do(f'CREATE "{space}/New"'))[-1].startswith("NO [NOPERM]")
    assert (await eve.do('CREATE "Other Users/nobody@example.org/New"'))[-1].startswith("NO [NOPERM]")
    assert (await eve.do('CREATE "Other Users/New"'))[-1].startswith("NO [NOPERM]")
    assert (await eve.do('CREATE "Shared"'))[-1].startswith("NO [NOPERM]")
    assert (await eve.do(f'DELETE "{space}/Work/2026/May"'))[-1].startswith("NO [NOPERM]")
    assert (await eve.do(f'RENAME "{space}/Work/2026" "{space}/Work/2027"'))[-1].startswith("NO [NOPERM]")
    await bob.do("SETACL Work/2026 eve +x")
    # all below is renamed with it, so that must be hers too
    assert (await eve.do(f'RENAME "{space}/Work/2026" "{space}/Work/2027"'))[-1].startswith("NO [NOPERM]")
    await bob.do("SETACL Work/2026/May eve +x")
    assert await eve.do(f'RENAME "{space}/Work/2026" "{space}/Work/2027"') == ["OK RENAME completed"]
    assert (await eve.do(f'RENAME "{space}/Work/2027" Mine'))[-1].startswith("NO [CANNOT]")
    assert await eve.do(f'DELETE "{space}/Work/2027/May"') == ["OK DELETE completed"]
    assert await names(bob, 'LIST "" Work*') == {"Work", "Work/2027"}
    # a mailbox of the old name begins without the old rights
    await bob.do("CREATE Alone")
    await bob.do("SETACL Alone eve lr")
    await bob.do("DELETE Alone")
    await bob.do("CREATE Alone")
    assert (await eve.do(f'MYRIGHTS "{space}/Alone"'))[-1].startswith(NOWHERE)


async def test_rights_stay_with_a_mailbox_that_is_renamed(bob: Client, eve: Client) -> None:
    await bob.do("SETACL Work eve lr")
    await bob.do("RENAME Work Play")
    assert await names(eve, 'LIST "" "Other Users/*/*"') == {"Other Users/bob@example.org/Play"}


async def test_subscriptions_are_everybodys_own(bob: Client, eve: Client) -> None:
    await bob.do("SETACL Work eve lr")
    assert await eve.do(f"SUBSCRIBE {WORK}") == ["OK SUBSCRIBE completed"]
    assert (await eve.do(f"SUBSCRIBE {INBOX}"))[-1].startswith(NOWHERE)
    assert await names(eve, 'LSUB "" "Other*"') == {WORK.strip('"')}
    assert 'LIST (\\HasNoChildren \\Subscribed) "/" ' + WORK in " ".join(
        await eve.do('LIST (SUBSCRIBED) "" "Other*"')
    )
    assert "Work" not in await names(bob, 'LSUB "" *')
    await eve.do(f"UNSUBSCRIBE {WORK}")
    assert await names(eve, 'LSUB "" "Other*"') == set()


async def test_the_quota_of_the_owner_is_told_to_who_may_read(
    bob: Client, eve: Client, server: Server
) -> None:
    await server.database.write([], lambda tx: tx.run("UPDATE account SET quota = 102400 WHERE id = 1"))
    assert (await eve.do("GETQUOTA bob@example.org"))[-1].startswith("NO [NONEXISTENT]")
    await bob.do("SETACL Work eve lr")
    assert (await eve.do(f"GETQUOTAROOT {WORK}"))[:-1] == [
        f'* QUOTAROOT {WORK} "bob@example.org"',
        '* QUOTA "bob@example.org" (STORAGE 1 100)',
    ]
    assert (await eve.do("GETQUOTA bob@example.org"))[0] == '* QUOTA "bob@example.org" (STORAGE 1 100)'


async def test_an_account_that_is_shared_is_found_below_shared(
    bob: Client, eve: Client, server: Server
) -> None:
    await server.database.write([], lambda tx: tx.run("UPDATE account SET shared = 1 WHERE id = 1"))
    await bob.do("SETACL INBOX anyone lrswipte")
    assert await names(eve, 'LIST "" "Shared*"') == {
        "Shared",
        "Shared/bob@example.org",
        "Shared/bob@example.org/INBOX",
    }
    assert (await eve.do('SELECT "Shared/bob@example.org/INBOX"'))[-1].startswith("OK [READ-WRITE]")
    # what is seen is seen by all
    await eve.do("STORE 1 +FLAGS (\\Seen)")
    assert (await bob.do("STATUS INBOX (UNSEEN)"))[0] == '* STATUS "INBOX" (UNSEEN 1)'
    # and below Other Users it is not
    assert (await eve.do(f"SELECT {INBOX}"))[-1].startswith(NOWHERE)


async def test_a_search_of_a_shared_mailbox_looks_into_its_mail(bob: Client, eve: Client) -> None:
    await bob.do("SETACL INBOX eve lr")
    await eve.do(f"SELECT {INBOX}")
    assert (await eve.do("SEARCH BODY Hello SUBJECT x"))[0] == "* SEARCH 1 2"
    assert (await eve.do("SORT (SUBJECT ARRIVAL) UTF-8 ALL"))[0] == "* SORT 1 2"
    assert (await eve.do("THREAD REFERENCES UTF-8 ALL"))[0] == "* THREAD ((1)(2))"
    assert (await eve.do("FETCH 1 (THREADID)"))[0].startswith("* 1 FETCH (THREADID (T")


async def test_a_mailbox_of_old_that_looks_like_anothers_is_still_ones_own(
    bob: Client, eve: Client, server: Server
) -> None:
    # given a mailbox made when no name was special
    name = "Other Users/bob@example.org/Work"
    sql = "UPDATE mailbox SET name = ? WHERE account = 2 AND name = 'Sent'"
    await server.database.write([], lambda tx: tx.run(sql, (name,)))
    await bob.do("SETACL Work eve lr")
    assert (await eve.do(f"STATUS {WORK} (MESSAGES)"))[0] == f"* STATUS {WORK} (MESSAGES 0)"
    assert sum(WORK in line for line in await eve.do('LIST "" *')) == 1
    assert (await eve.do(f"RENAME {WORK} Free")) == ["OK RENAME completed"]


async def test_who_may_only_insert_learns_no_uids(server: Server) -> None:
    # RFC 9051 §6.3.12, RFC 4315 §3: they would tell how much mail there is
    message = "{12+}\r\nSubject: x\r\n"
    there = '"Other Users/bob@example.org/INBOX"'
    for _ in range(2):
        await server.deliver(LETTER, account=2)
    async with Client(server) as bob, Client(server, "eve") as eve:
        await eve.do("SELECT INBOX")
        await bob.do("SETACL INBOX eve li")
        for command in (f"APPEND {there} {message}", f"COPY 1 {there}", f"MOVE 1 {there}"):
            lines = await eve.do(command)
            assert lines[-1].startswith("OK ")
            assert not any("UID" in line for line in lines), lines
        assert not any("UID" in line for line in await eve.do(f"REPLACE 1 {there} {message}"))
        await bob.do("SETACL INBOX eve lir")
        assert (await eve.do(f"APPEND {there} {message}"))[-1].startswith("OK [APPENDUID ")
        assert (await bob.do("STATUS INBOX (MESSAGES)"))[0].endswith("(MESSAGES 5)")


async def test_a_name_that_is_written_otherwise_is_told(server: Server) -> None:
    # RFC 9051 §6.3.12
    async with Client(server) as client:
        await client.do("ENABLE IMAP4rev2")
        await client.do('CREATE "Entw\u00fcrfe"')
        lines = await client.do('APPEND "Entwu\u0308rfe" {12+}\r\nSubject: x\r\n')
        assert lines[0] == '* LIST () "/" "Entw\u00fcrfe" ("OLDNAME" ("Entwu\u0308rfe"))'
