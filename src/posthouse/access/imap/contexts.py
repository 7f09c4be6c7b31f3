"""Searches and sorts whose results are kept up to date: RETURN (UPDATE) (RFC 5267 §4.3).

What has come, changed or gone in the selected mailbox is looked at when its client is told of it, and
only that: messages that now belong to the results are told with ADDTO, those that no longer do with
REMOVEFROM. A sort tells their places, a search none.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from posthouse.protocol.imap import commands, searching
from posthouse.protocol.imap.events import Result
from posthouse.protocol.imap.sequence import write_sequence_set
from posthouse.protocol.imap.syntax import quoted

if TYPE_CHECKING:
    from posthouse.access.imap.selected import Selected
    from posthouse.access.imap.state import User

Kept: TypeAlias = commands.Search | commands.Sort | commands.MultiSearch

Choose: TypeAlias = Callable[[Sequence[int]], Awaitable[Sequence[int]]]
"""Takes indexes into the view: gives those that belong to the results, or all of them in order."""

Show: TypeAlias = Callable[[Sequence[int]], Awaitable[bytes]]
"""Takes indexes into the view: gives what the client wants to be told of new messages."""

_MOST = 20
"""Of one session."""
TAG_REUSE = Result("BAD", "The tag is that of a search that is kept up to date")  # RFC 5267 §4.3


def refused(tag: bytes, why: str) -> bytes:
    """NOUPDATE (RFC 5267 §4.3.1): the search is answered, and no more is told of it."""
    return b"* NO [NOUPDATE %b] %b\r\n" % (quoted(tag), why.encode())


class Context:
    """One command and what it has found, by UID and in its order."""

    __slots__ = ("_command", "_found", "_holds", "_order", "_show", "_where")

    def __init__(
        self,
        command: Kept,
        found: list[int],
        holds: Choose,
        order: Choose | None,
        show: Show | None,
        where: bytes,
    ) -> None:
        self._command = command
        self._found = found
        self._holds = holds
        self._order = order
        self._show = show
        self._where = where

    def without(self, selected: Selected, gone: Sequence[tuple[int, int]]) -> bytes:
        """What is said of UIDs that are about to be expunged; the view still has them."""
        firsts = [first for first, _ in gone]

        def is_gone(uid: int) -> bool:
            at = bisect_right(firsts, uid) - 1
            return at >= 0 and uid <= gone[at][1]

        return self._remove(selected, {uid for uid in self._found if is_gone(uid)})

    async def follow(self, selected: Selected, uids: Sequence[int], first_new: int) -> bytes:
        """What is said of messages that are new, those from UID `first_new` on, or have other flags."""
        known = set(self._found)
        indexes = sorted({at for uid in uids if (at := selected.view.index(uid)) is not None})
        fit = {selected.view.uids[index] for index in await self._holds(indexes)}
        looked_at = {selected.view.uids[index] for index in indexes}
        said = self._remove(selected, (looked_at & known) - fit)
        added = fit - known
        if self._show is not None:
            # RFC 5465 §7: before ADDTO, and not of those that only have other flags
            new = [
                index for index in indexes if first_new <= (uid := selected.view.uids[index]) and uid in added
            ]
            said += await self._show(new) if new else b""
        return said + await self._add(selected, added)

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
        by_uid = (
            command.uid or selected.uids_only
        )  # RFC 9586 §3: even where it was asked for by number before
        lists = []
        for place, uids in pairs:
            numbers = uids if by_uid else [bisect_left(view.uids, uid) + 1 for uid in uids]
            lists.append(b"%d %b" % (place, write_sequence_set(numbers)))
        correlator = quoted(command.tag) + self._where
        unit = b" UID" if by_uid else b""
        return b"* ESEARCH (TAG %b)%b %b (%b)\r\n" % (correlator, unit, what, b" ".join(lists))


class Contexts:
    """All that are kept up to date in a selected mailbox, by the tag of their command."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all: dict[bytes, Context] = {}

    def has(self, tag: bytes) -> bool:
        """Whether the results of a command with this tag are kept up to date."""
        return tag in self._all

    def begin(
        self,
        command: Kept,
        found: list[int],
        holds: Choose,
        order: Choose | None,
        show: Show,
        where: bytes = b"",
    ) -> bytes:
        """Keep what a command has found, by UID; what is said where that cannot be (RFC 5267 §4.3.1).

        `holds` says which messages belong to it, `order` how they are sorted; `show` tells of new ones, where
        the command asks for that; `where` is what an ESEARCH says of its mailbox.
        """
        if searching.uses_saved(command.key):
            return refused(command.tag, "What $ stands for does not stay")
        if len(self._all) >= _MOST:
            return refused(command.tag, "Too many contexts")
        self._all[command.tag] = Context(
            command, found, holds, order, show if command.update else None, where
        )
        return b""

    def cancel(self, tag: bytes) -> None:
        """CANCELUPDATE."""
        self._all.pop(tag, None)

    def without(self, selected: Selected, gone: Sequence[tuple[int, int]]) -> bytes:
        return b"".join([context.without(selected, gone) for context in self._all.values()])

    async def follow(self, selected: Selected, uids: Iterable[int], first_new: int) -> bytes:
        if not self._all:
            return b""
        listed = list(uids)
        return b"".join([await context.follow(selected, listed, first_new) for context in self._all.values()])


async def cancel_update(user: User, command: commands.CancelUpdate) -> Result:
    """CANCELUPDATE (RFC 5267 §4.3.5)."""
    for tag in command.tags:
        user.open.contexts.cancel(tag)
    return Result("OK", "CANCELUPDATE completed")
