"""Two hosts on one PostgreSQL: what one is in the middle of, the other does not spoil.

Each test stops a transaction of the first host after its work and before its commit, and lets the second
begin. On SQLite the second could not even begin.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from posthouse.accounts import account as accounts
from posthouse.accounts import alias as aliases
from posthouse.accounts import credential as credentials
from posthouse.accounts import domain as domains
from posthouse.accounts.problem import AlreadyThere, NotAllowed
from posthouse.db import Reader, Tx, open_database
from posthouse.mail.envelope import AccountId
from posthouse.queue import entries
from posthouse.queue.entries import LOCAL, NewEntry, QueueLetter
from posthouse.store import mailboxes
from tests.databases import at_once, only_postgresql, postgres
from tests.servers import PATIENCE

pytestmark = only_postgresql
NOW = 1_800_000_000.0
DOMAIN = "north.test"
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


class Hosts:
    """Two that know nothing of each other but the database."""

    def __init__(self, directory: Path) -> None:
        url = postgres().fresh()
        self.one = open_database(url, directory / "one")
        self.two = open_database(url, directory / "two")
        self.look = at_once(self.one, url)

    async def overlapping(
        self,
        first: Callable[[Tx], Any],
        second: Callable[[Tx], Any],
        then: Callable[[Tx], Any] | None = None,
    ) -> tuple[Any, Any]:
        """What both come to, where the first has done its work and not committed when the second begins.

        `then`: what the first does after that; its value counts.
        """
        worked, go_on = threading.Event(), threading.Event()

        def stopped(tx: Tx) -> Any:
            answer = first(tx)
            tx.one("SELECT 1")  # all before it has been done
            worked.set()
            go_on.wait(PATIENCE)
            return answer if then is None else then(tx)

        one = self.one.write([], stopped)
        await asyncio.to_thread(worked.wait, PATIENCE)
        two = self.two.write([], second)
        try:
            # The server sets no event when somebody begins to wait.
            while not two.done() and not self._somebody_waits():  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        finally:
            go_on.set()
        answers = await asyncio.gather(one, two, return_exceptions=True)
        return answers[0], answers[1]

    def _somebody_waits(self) -> bool:
        return self.look(lambda reader: reader.one(_WAITING)) != (0,)


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[Hosts]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    hosts = Hosts(tmp_path)

    def fill(tx: Tx) -> None:
        domains.add(tx, DOMAIN, now=NOW)
        for name in ("chief", "deputy"):
            accounts.add(tx, f"{name}@{DOMAIN}", now=NOW, admin=True)

    await hosts.one.write([], fill)
    yield hosts
    await hosts.one.close()
    await hosts.two.close()


async def test_two_administrators_cannot_depose_each_other(hosts: Hosts) -> None:
    _, refused = await hosts.overlapping(
        lambda tx: accounts.change(tx, f"chief@{DOMAIN}", admin=False),
        lambda tx: accounts.change(tx, f"deputy@{DOMAIN}", active=False),
    )
    assert isinstance(refused, NotAllowed)
    assert [account.address for account in hosts.look(accounts.administrators)] == [f"deputy@{DOMAIN}"]


async def test_a_domain_that_gets_an_account_is_not_removed(hosts: Hosts) -> None:
    await hosts.one.write([], lambda tx: domains.add(tx, "west.test", now=NOW))
    _, refused = await hosts.overlapping(
        lambda tx: accounts.add(tx, "new@west.test", now=NOW),
        lambda tx: domains.remove(tx, "west.test"),
    )
    assert isinstance(refused, NotAllowed)


async def test_two_new_accounts_get_ids_of_their_own(hosts: Hosts) -> None:
    one, two = await hosts.overlapping(
        lambda tx: accounts.add(tx, f"one@{DOMAIN}", now=NOW),
        lambda tx: accounts.add(tx, f"two@{DOMAIN}", now=NOW),
    )
    assert one.id != two.id


async def test_an_address_is_given_once(hosts: Hosts) -> None:
    _, refused = await hosts.overlapping(
        lambda tx: accounts.add(tx, f"new@{DOMAIN}", now=NOW),
        lambda tx: accounts.add(tx, f"new@{DOMAIN}", now=NOW),
    )
    assert isinstance(refused, AlreadyThere)


async def test_no_change_of_an_alias_undoes_another(hosts: Hosts) -> None:
    team = f"team@{DOMAIN}"
    await hosts.one.write([], lambda tx: aliases.add(tx, team, [f"chief@{DOMAIN}"], now=NOW))
    await hosts.overlapping(
        lambda tx: aliases.change(tx, team, include=["x@east.test"]),
        lambda tx: aliases.change(tx, team, include=["y@east.test"], exclude=[f"chief@{DOMAIN}"]),
    )

    def targets(reader: Reader) -> list[str]:
        return [str(target) for target in aliases.show(reader, team).targets]

    assert hosts.look(targets) == ["x@east.test", "y@east.test"]


async def test_two_application_passwords_are_both_there(hosts: Hosts) -> None:
    chief = hosts.look(lambda reader: accounts.show(reader, f"chief@{DOMAIN}")).id
    answers = await hosts.overlapping(
        lambda tx: credentials.add_application_password(tx, chief, "phone", "secret", now=NOW),
        lambda tx: credentials.add_application_password(tx, chief, "tablet", "secret", now=NOW),
    )
    assert answers == (None, None)
    labels = [one.label for one in hosts.look(lambda reader: credentials.of_account(reader, chief))]
    assert labels == ["phone", "tablet"]


def _queued(tx: Tx) -> None:
    letter = QueueLetter(1, "x@east.test", "7BIT", False, "", "", b"", 1, 9, NOW, NOW + 9, last=2)
    new = [NewEntry(number, f"list@{DOMAIN}", 0, "", LOCAL) for number in (1, 2)]
    entries.insert(tx, letter, new, due=NOW, holder=4711)


async def test_recipients_that_two_hosts_expand_at_once_get_numbers_of_their_own(hosts: Hosts) -> None:
    await hosts.one.write([], _queued)
    one, two = await hosts.overlapping(
        lambda tx: entries.new_numbers(tx, 1, 2), lambda tx: entries.new_numbers(tx, 1, 1)
    )
    assert [*one, *two] == [3, 4, 5]


async def test_an_entry_is_not_taken_from_who_is_delivering_it(hosts: Hosts) -> None:
    """Given a lease that has expired, when its holder delivers after all, then nobody else does."""
    await hosts.one.write([], _queued)
    await hosts.one.write([], lambda tx: tx.run("UPDATE queue_entry SET lease = 1"))
    chief = hosts.look(lambda reader: accounts.show(reader, f"chief@{DOMAIN}")).id

    def deliver(tx: Tx) -> None:
        assert entries.is_mine(tx, 1, 1, 4711)
        mailboxes.create(tx, AccountId(chief), "Copy", NOW)

    finished, taken = await hosts.overlapping(
        deliver, entries.reclaim, then=lambda tx: entries.finish(tx, 1, 1, 4711)
    )
    assert finished
    assert taken == 1, "of two entries the other was free"
