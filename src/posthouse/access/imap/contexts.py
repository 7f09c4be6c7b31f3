"""Searches and sorts whose results are kept up to date: RETURN (UPDATE) (RFC 5267 §4.3).

What has come, changed or gone in the selected mailbox is looked at when its client is told of it, and
only that: messages that now belong to the results are told with ADDTO, those that no longer do with
REMOVEFROM. A sort tells their places, a search none.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from posthouse.protocol.imap import commands, searching
from posthouse.protocol.imap.events import Result
from posthouse.protocol.imap.sequence import write_sequence_set
from posthouse.protocol.imap.syntax import quoted

if TYPE_CHECKING:
    from posthouse.access.imap.selected import Selected
    from posthouse.access.imap.state import User

Choose: TypeAlias = Callable[[Sequence[int]], Awaitable[list[int]]]
"""Takes indexes into the view: gives those that belong to the results, or all of them in order."""

_MOST = 20
"""Of one session."""


class Context:
    """One command and what it has found, by UID and in its order."""

    __slots__ = ("_command", "_found", "_holds", "_order")

    def __init__(
        self, command: commands.Search | commands.Sort, found: list[int], holds: Choose, order: Choose | None
    ) -> None:
        self._command = command
        self._found = found
        self._holds = holds
        self._order = order

    def without(self, selected: Selected, gone: Sequence[tuple[int, int]]) -> bytes:
        """What is said of UIDs that are about to be expunged; the view still has them."""
        firsts = [first for first, _ in gone]

        def is_gone(uid: int) -> bool:
            at = bisect_right(firsts, uid) - 1
            return at >= 0 and uid <= gone[at][1]

        return self._remove(selected, {uid for uid in self._found if is_gone(uid)})

    async def follow(self, selected: Selected, uids: Sequence[int]) -> bytes:
        """What is said of messages that are new, or have other flags."""
        known = set(self._found)
        indexes = sorted({at for uid in uids if (at := selected.view.index(uid)) is not None})
        fit = {selected.view.uids[index] for index in await self._holds(indexes)}
        looked_at = {selected.view.uids[index] for index in indexes}
        said = self._remove(selected, (looked_at & known) - fit)
        return said + await self._add(selected, fit - known)

    def _remove(self, selected: Selected, uids: set[int]) -> bytes:
        if not uids:
            return b""
        pairs = []
        if self._order is not None:
            # from the last on, so that no place moves before it is said
            for place in range(len(self._found), 0, -1):
                if self._found[place - 1] in uids:
                    pairs.append((place, [self._found[place - 1]]))
        else:
            pairs.append((0, sorted(uids)))
        self._found = [uid for uid in self._found if uid not in uids]
        return self._said(selected, b"REMOVEFROM", pairs)

    async def _add(self, selected: Selected, uids: set[int]) -> bytes:
        if not uids:
            return b""
        found = sorted({*self._found, *uids})
        if self._order is None:
            self._found = found
            return self._said(selected, b"ADDTO", [(0, sorted(uids))])
        view = selected.view
        indexes = [at for uid in found if (at := view.index(uid)) is not None]
        self._found = [view.uids[index] for index in await self._order(indexes)]
        pairs = [(place, [uid]) for place, uid in enumerate(self._found, 1) if uid in uids]
        return self._said(selected, b"ADDTO", pairs)

    def _said(self, selected: Selected, what: bytes, pairs: list[tuple[int, list[int]]]) -> bytes:
        view, command = selected.view, self._command
        lists = []
        for place, uids in pairs:
            numbers = uids if command.uid else [bisect_left(view.uids, uid) + 1 for uid in uids]
            lists.append(b"%d %b" % (place, write_sequence_set(numbers)))
        by_uid = b" UID" if command.uid else b""
        return b"* ESEARCH (TAG %b)%b %b (%b)\r\n" % (quoted(command.tag), by_uid, what, b" ".join(lists))


class Contexts:
    """All that are kept up to date in a selected mailbox, by the tag of their command."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all: dict[bytes, Context] = {}

    def begin(
        self, command: commands.Search | commands.Sort, found: list[int], holds: Choose, order: Choose | None
    ) -> bytes:
        """Keep what a command has found, by UID; what is said where that cannot be (RFC 5267 §4.3.4).

        `holds` says which messages belong to it, `order` how they are sorted.
        """
        if searching.uses_numbers_or_saved(command.key):
            why = b"Numbers do not stay"
        elif len(self._all) >= _MOST and command.tag not in self._all:
            why = b"Too many contexts"
        else:
            self._all[command.tag] = Context(command, found, holds, order)
            return b""
        return b"* NO [NOUPDATE %b] %b\r\n" % (quoted(command.tag), why)

    def cancel(self, tag: bytes) -> None:
        """CANCELUPDATE."""
        self._all.pop(tag, None)

    def without(self, selected: Selected, gone: Sequence[tuple[int, int]]) -> bytes:
        return b"".join([context.without(selected, gone) for context in self._all.values()])

    async def follow(self, selected: Selected, uids: Sequence[int]) -> bytes:
        return b"".join([await context.follow(selected, uids) for context in self._all.values()])


async def cancel_update(user: User, command: commands.CancelUpdate) -> Result:
    """CANCELUPDATE (RFC 5267 §4.3.5)."""
    for tag in command.tags:
        user.open.contexts.cancel(tag)
    return Result("OK", "CANCELUPDATE completed")
