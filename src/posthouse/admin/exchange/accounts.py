"""Which accounts an import or export is about, and where the mail of each is elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from posthouse.accounts import account as accounts

if TYPE_CHECKING:
    from posthouse.accounts.account import Account
    from posthouse.db import Database


class Wanted(NamedTuple):
    """One line of a list of accounts."""

    address: str
    """Ours."""
    login: str = ""
    """Theirs; empty: the same."""
    password: str = ""

    def filled(self, template: str) -> str:
        """A path with {address}, {user}, {domain} and {login} replaced."""
        user, _, domain = self.address.rpartition("@")
        login = self.login or self.address
        for name, value in (("address", self.address), ("user", user), ("domain", domain), ("login", login)):
            template = template.replace("{" + name + "}", value)
        return template


def read_list(lines: Iterable[str]) -> list[Wanted]:
    """`address [login [password]]`, one a line; `#` begins a comment. Raises ValueError."""
    found = []
    for number, line in enumerate(lines, 1):
        words = line.rstrip("\n").split(None, 2)
        if not words or words[0].startswith("#"):
            continue
        if "@" not in words[0]:
            raise ValueError(f"line {number}: {words[0]} is no address")
        found.append(Wanted(*words))
    return found


async def find(database: Database, address: str) -> Account:
    """Raises NoSuchEntry."""
    return await database.read(lambda reader: accounts.show(reader, address))
