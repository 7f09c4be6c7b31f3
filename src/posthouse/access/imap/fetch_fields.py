"""The header fields that a mail program fetches of a whole mailbox, kept for the next who asks for them.

They are taken out of the pages once, message after message; when the first FETCH has come to its end they
are a column of what is known of the mailbox (`facts.Knowledge`), bounded as all that is.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from posthouse.mail import section
from posthouse.store import facts
from posthouse.store.columns import Texts

if TYPE_CHECKING:
    from posthouse.access.imap.facts import Knowledge
    from posthouse.access.imap.selected import Selected

MOST_OCTETS = 16_000_000
"""Of one mailbox, so that a large one does not drive out all others."""


class FieldColumn:
    """What HEADER.FIELDS with these names is of the messages of a mailbox, as far as that is known."""

    def __init__(self, knowledge: Knowledge, selected: Selected, names: tuple[bytes, ...]) -> None:
        self._knowledge = knowledge
        self._selected = selected
        self._names = names
        self._family = facts.fields(frozenset([name.lower() for name in names]))
        self._count, (known,) = knowledge.known(selected, self._family)
        self._texts: Texts = known
        self._found: list[bytes] = []
        self._octets = self._texts.octets

    @property
    def complete(self) -> bool:
        """It is known of all messages."""
        return self._count == len(self._selected.view)

    def known(self, indexes: Sequence[int]) -> Sequence[bytes] | None:
        """Those of some messages; None where not all are known."""
        if indexes[-1] >= self._count:
            return None
        if isinstance(indexes, range):
            return self._texts.part(indexes.start, indexes.stop)
        return list(self._texts.picked(indexes))

    def learn(self, indexes: Sequence[int], heads: Sequence[bytes]) -> Sequence[bytes]:
        """The same, taken out of headers; those of messages that follow what is known will be kept."""
        texts = section.named_fields(self._names, heads)
        end = self._count + len(self._found)
        if isinstance(indexes, range) and indexes.start <= end and self._octets <= MOST_OCTETS:
            more = texts[end - indexes.start :]
            self._found += more
            self._octets += sum(map(len, more))
        return texts

    def keep(self) -> None:
        """Let what was learnt be known, once the client has its answer."""
        if self._found and self._octets <= MOST_OCTETS:
            uids: array[int] = self._selected.view.uids[: self._count + len(self._found)]
            asyncio.get_running_loop().call_soon(self._keep, uids)

    def _keep(self, uids: array[int]) -> None:
        found = Texts(self._found)
        texts = self._texts.extended(found) if self._count else found
        self._knowledge.learn(self._selected, uids, self._family, (texts,))
