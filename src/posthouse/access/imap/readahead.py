"""Messages read before they are asked for.

Who fetches one message after the other has the next ones read with the one he asks for: at first one, then
two, four and more in one query. They wait here, shared by the sessions of a worker and bounded in octets;
what waited longest goes first, and what was taken is gone. What is kept of a message never changes. Whether
it is still there, and may be read, is for the session to find out before it takes it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from posthouse.store.read import Column

if TYPE_CHECKING:
    from posthouse.mail.envelope import AccountId

OCTETS = 16 * 1024 * 1024
"""Of all messages that wait in a worker, at most."""
_MOST_MESSAGES = 32
_MOST_OCTETS = 256 * 1024
"""Read at once for one session."""

Row: TypeAlias = tuple[Any, ...]
Key: TypeAlias = "tuple[AccountId, int, tuple[Column, ...], int]"
"""Account, mailbox, columns and UID."""


class Reading(NamedTuple):
    """What a session has had read last: some messages before the index `following`."""

    columns: tuple[Column, ...]
    following: int
    messages: int


_NO_ROW: tuple[int, None] = (0, None)
NOTHING_READ = Reading((), -1, 0)


def next_reading(last: Reading, columns: tuple[Column, ...], index: int, sizes: Sequence[int]) -> Reading:
    """What is to be read for who asks for the message at `index` now; `sizes` in octets, of all messages."""
    count, octets = 1, 0
    if last.following == index and last.columns == columns:
        most = min(2 * last.messages, _MOST_MESSAGES, len(sizes) - index)
        octets = sizes[index]
        while count < most and (octets := octets + sizes[index + count]) <= _MOST_OCTETS:
            count += 1
    return Reading(columns, index + count, count)


class ReadAhead:
    """The messages that wait in one worker."""

    def __init__(self, octets: int = OCTETS) -> None:
        self._most = octets
        self._octets = 0
        self._rows: OrderedDict[Key, tuple[int, Row]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, key: Key) -> Row | None:
        """The row, which is forgotten here."""
        octets, row = self._rows.pop(key, _NO_ROW)
        self._octets -= octets
        return row

    def keep(self, rows: Iterable[tuple[Key, Row]]) -> None:
        """Let rows wait."""
        for key, row in rows:
            self.take(key)
            octets = sum([len(value) for value in row if isinstance(value, bytes | bytearray)])
            self._rows[key] = octets, row
            self._octets += octets
        while self._octets > self._most:
            _, (octets, _) = self._rows.popitem(last=False)
            self._octets -= octets
