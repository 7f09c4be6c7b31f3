"""Named searches (RFC 5466): `SEARCH FILTER name` is the search that the name stands for.

A filter is the value of the server's entry `/private/filters/values/NAME`, or of the shared one that an
administrator has set; it may name others.
"""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

from posthouse.access.imap.state import User
from posthouse.protocol.imap import commands, searching
from posthouse.protocol.imap.search_arguments import stored_search
from posthouse.protocol.imap.searching import MOST_KEYS, SearchKey, UnknownCharset
from posthouse.protocol.imap.syntax import SyntaxProblem
from posthouse.store import metadata
from posthouse.store.mailboxes import MailboxError
from posthouse.store.metadata import PRIVATE, SERVER, SHARED, Where

T = TypeVar("T", commands.Search, commands.Sort, commands.Thread, commands.MultiSearch)

_ENTRY = "%s/filters/values/%s"
_DEEPEST = 10


class UndefinedFilter(MailboxError):
    """There is no such filter, or what it says is no search."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The filter {name} {why}")
        self.code = f"UNDEFINED-FILTER {name}"  # RFC 5466 §3.1


async def spelled_out(user: User, command: T) -> T:
    """The command with its filters in full, and strings compared as the client wants them to be.

    Raises UndefinedFilter.
    """
    names: frozenset[str] = frozenset()
    for _ in range(_DEEPEST):
        if sum(1 for _ in islice(searching.leaves(command.key), MOST_KEYS + 1)) > MOST_KEYS:
            break
        names = searching.filters(command.key)
        if not names:
            return command._replace(key=searching.compared(command.key, user.enabled.comparator))
        meaning = {name: await _meaning(user, name, command) for name in names}
        command = command._replace(key=searching.with_filters(command.key, meaning))
    raise UndefinedFilter(min(names), "names too many others")


async def _meaning(user: User, name: str, command: T) -> SearchKey:
    entries = [_ENTRY % (scope, name.lower()) for scope in (PRIVATE, SHARED)]
    where = Where(SERVER, 0, user.account)
    found = await user.read(lambda reader: metadata.get(reader, where, entries, 0))
    value = next((found[entry] for entry in entries if entry in found), None)
    if value is None:
        raise UndefinedFilter(name, "does not exist")
    try:
        key = stored_search(value)
    except (SyntaxProblem, UnknownCharset) as problem:
        raise UndefinedFilter(name, f"is no search: {problem}") from None
    if user.enabled.uidonly and searching.numbered(key):
        raise UndefinedFilter(name, "names messages by number")
    if searching.uses_saved(key) and isinstance(command, commands.MultiSearch):
        raise UndefinedFilter(name, "names messages of the selected mailbox")
    return key
