"""What administrators do, beyond what the command line shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from posthouse.accounts import account, alias, credential, domain
from posthouse.accounts.alias import Kind
from posthouse.accounts.problem import AlreadyThere, NoSuchEntry, NotAllowed
from posthouse.admin import accounts
from posthouse.admin.setup import initialise
from posthouse.db import Tx, open_database
from posthouse.db.blobs import new_name
from posthouse.mail.envelope import AccountId
from posthouse.store import content, mailboxes
from posthouse.store.deposit import Deposit, Deposited, deposit
from tests.unit.accounts.world import World

PASSWORD = "a long road to Samarkand"
NAMES = ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]


async def deposit_some(world: World, of: account.Account, number: int, blob: str | None = None) -> None:
    """Letters in the inbox, the first with its content in a blob."""

    def work(tx: Tx) -> None:
        inbox = mailboxes.find(tx, of.id, "INBOX")
        assert inbox is not None
        for id in range(of.id + 1, of.id + 1 + number):
            where = blob if id == of.id + 1 else None
            content.put(tx, id, b"Subject: x\r\n\r\n", None if where else b"x\r\n", size=17, blob=where)
            copy = Deposit(id, id, prefix=b"", arrived=1.0, size=17, envelope=b"()", bodystructure=b"()")
            done = deposit(tx, of.id, "INBOX", [copy], limit=0)
            assert isinstance(done, Deposited)

    await world.change(work)


async def rows(world: World, table: str) -> int:
    (number,) = await world.database.read(lambda reader: reader.one(f"SELECT COUNT(*) FROM {table}")) or (0,)
    return int(number)


async def test_a_new_account_has_its_mailboxes_and_password(world: World) -> None:
    made = await accounts.add(world.database, "dora@example.org", PASSWORD, now=1.0)
    names = await world.database.read(
        lambda reader: sorted(found.name for found in mailboxes.every(reader, made.id))
    )
    assert names == sorted(NAMES)
    assert (await accounts.show(world.database, "dora@example.org")).passwords == ("password",)


async def test_an_account_is_made_whole_or_not_at_all(world: World) -> None:
    before = await rows(world, "mailbox")
    with pytest.raises(AlreadyThere):
        await accounts.add(world.database, "Alice@example.org", PASSWORD, now=1.0)
    assert (await rows(world, "mailbox"), await rows(world, "credential")) == (before, 0)


async def test_a_renamed_account_keeps_its_mail(world: World) -> None:
    made = await accounts.add(world.database, "dora@example.org", PASSWORD, now=1.0)
    await deposit_some(world, made, 3)
    await accounts.change(world.database, "dora@example.org", now=2.0, new_address="d@example.org")
    renamed = (await accounts.show(world.database, "d@example.org")).account
    assert (renamed.id, renamed.used) == (made.id, 51)
    with pytest.raises(NoSuchEntry):
        await accounts.show(world.database, "dora@example.org")


async def test_what_named_a_renamed_account_names_it_still(world: World) -> None:
    await world.add_alias("robert@example.org", "Bob@example.org", "x@example.net")
    await world.add_alias("bob@example.org", "bob@example.org", "bob@phone.example")
    await world.change(lambda tx: domain.change(tx, "example.org", catch_all="bob@example.org"))
    await accounts.change(world.database, "bob@example.org", now=2.0, new_address="rob@example.org")
    assert await world.leads_to("robert@example.org") == ["rob@example.org", "x@example.net"]
    assert await world.leads_to("bob@example.org") == ["bob@phone.example", "rob@example.org"]
    assert await world.leads_to("anything@example.org") == ["rob@example.org"]


async def test_what_still_names_a_removed_account_is_told(world: World) -> None:
    await world.add_alias("robert@example.org", "Bob@example.org")
    await world.change(lambda tx: domain.change(tx, "example.org", catch_all="bob@example.org"))
    named = await accounts.remove(world.database, "bob@example.org", world.clock)
    assert named == ["robert@example.org", "example.org"]


async def test_a_change_is_made_whole_or_not_at_all(world: World) -> None:
    with pytest.raises(AlreadyThere):
        await accounts.change(
            world.database,
            "bob@example.org",
            now=2.0,
            name="Robert",
            password=PASSWORD,
            new_address="alice@example.org",
        )
    report = await accounts.show(world.database, "bob@example.org")
    assert (report.account.name, report.passwords) == ("", ())


async def test_a_removed_account_leaves_nothing_behind_but_blobs_to_be_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "BATCH", 2)
    made = await accounts.add(world.database, "dora@example.org", PASSWORD, now=1.0)
    blob = new_name()
    await deposit_some(world, made, 7, blob=blob)
    assert await accounts.remove(world.database, "dora@example.org", world.clock) == []
    for table in ("email", "placement", "mailbox", "subscription", "content", "content_body", "credential"):
        assert await rows(world, table) == 0, table
    assert await rows(world, "account") == 3
    garbage = await world.database.read(lambda reader: reader.all("SELECT name FROM blob_garbage"))
    assert garbage == [(blob,)]


async def test_an_interrupted_removal_is_finished_by_the_next(world: World) -> None:
    made = await accounts.add(world.database, "dora@example.org", PASSWORD, now=1.0)
    await deposit_some(world, made, 3)
    await world.change(lambda tx: account.retire(tx, "dora@example.org"))
    again = await accounts.add(world.database, "dora@example.org", PASSWORD, now=2.0)
    assert again.id != made.id

    await accounts.clear_away(world.database, world.clock)
    assert await rows(world, "email") == 0
    assert (await accounts.show(world.database, "dora@example.org")).account.id == again.id


async def test_a_new_installation_is_complete_and_made_once(world: World) -> None:
    config = world.configure({"data_directory": "elsewhere"})
    made = await initialise(config, "example.com", "postmaster@example.com", PASSWORD)
    assert made.admin
    assert (config.data_directory / "run").stat().st_mode & 0o777 == 0o711
    with pytest.raises(AlreadyThere):
        await initialise(config, "example.com", "other@example.com", PASSWORD)
    database = open_database(config.database.url, config.data_directory)
    try:
        assert [found.address for found in await accounts.every(database)] == ["postmaster@example.com"]
        made_too = await database.read(lambda reader: mailboxes.every(reader, made.id))
        assert sorted(found.name for found in made_too) == sorted(NAMES)
        assert (await accounts.show(database, "postmaster@example.com")).passwords == ("password",)
    finally:
        await database.close()


async def test_an_id_is_never_given_again(world: World) -> None:
    first = await accounts.add(world.database, "dora@example.org", PASSWORD, now=5_000_000_000.0)
    await accounts.remove(world.database, "dora@example.org", world.clock)
    second = await accounts.add(world.database, "dora@example.org", PASSWORD, now=5_000_000_002.0)
    assert second.id > first.id


async def test_the_last_administrator_stays(world: World) -> None:
    for change in (
        lambda tx: account.change(tx, "chief@example.org", admin=False),
        lambda tx: account.change(tx, "chief@example.org", active=False),
        lambda tx: account.retire(tx, "chief@example.org"),
    ):
        with pytest.raises(NotAllowed, match="last active administrator"):
            await world.change(change)
    await world.change(lambda tx: account.change(tx, "bob@example.org", admin=True))
    await world.change(lambda tx: account.retire(tx, "chief@example.org"))
    assert await world.leads_to("postmaster") == ["bob@example.org"]


@pytest.mark.parametrize(
    "change",
    [
        lambda tx: domain.add(tx, "", now=1.0),
        lambda tx: domain.add(tx, "a..b", now=1.0),
        lambda tx: domain.add(tx, "[192.0.2.1]", now=1.0),
        lambda tx: domain.add(tx, "new.example", now=1.0, separator="@"),
        lambda tx: domain.add(tx, "new.example", now=1.0, catch_all="nobody"),
        lambda tx: account.add(tx, "postmaster", now=1.0),
        lambda tx: account.add(tx, "new@example.org", now=1.0, name="a\nb"),
        lambda tx: account.add(tx, "new@example.org", now=1.0, quota=-1),
        lambda tx: alias.add(tx, "new@example.org", [], now=1.0),
        lambda tx: alias.add(tx, "new@example.org", ["postmaster"], now=1.0),
        lambda tx: alias.add(tx, "new@example.org", [f"x{n}@x.example" for n in range(1001)], now=1.0),
        lambda tx: alias.add(tx, "new@example.org", ["new@example.org"], now=1.0, kind=Kind.MOVED),
        lambda tx: credential.add_application_password(tx, AccountId(1), "", "x", now=1.0),
    ],
)
async def test_what_is_not_allowed_changes_nothing(world: World, change: Callable[[Tx], object]) -> None:
    generation = world.database.generation("directory")
    with pytest.raises(NotAllowed):
        await world.change(change)
    assert world.database.generation("directory") == generation


async def test_an_account_has_a_bounded_number_of_passwords(world: World) -> None:
    bob = (await accounts.show(world.database, "bob@example.org")).account

    def add_password(label: str, tx: Tx) -> None:
        credential.add_application_password(tx, bob.id, label, "x", now=1.0)

    for number in range(credential.LIMIT):
        label = f"p{number}"
        await world.change(partial(add_password, label))
    with pytest.raises(NotAllowed):
        await world.change(partial(add_password, "more"))
    with pytest.raises(AlreadyThere):
        await world.change(partial(add_password, "p1"))
