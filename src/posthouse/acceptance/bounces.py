"""Letters that we write about letters: delivery status notifications (RFC 3461, RFC 3464).

A bounce is written in the transaction that makes it necessary: content, queue entry, journey. It has the
null sender, so none begets another, and an id of its own that names the letter it is about. Its entry
waits in the queue for ourselves as next hop, where it is routed like any letter of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from posthouse.journey import record
from posthouse.mail.content import MemoryContent
from posthouse.mail.dsn import RecipientReport, compose_dsn
from posthouse.mail.envelope import BodyType, Client, LetterId, Notify, Return, Sender
from posthouse.mail.ids import LetterIds, show
from posthouse.mail.received import received_field
from posthouse.queue import entries as queue
from posthouse.queue.entries import LOCAL, NewEntry, QueueLetter
from posthouse.store import content as contents

if TYPE_CHECKING:
    from posthouse.db import Tx
    from posthouse.mail.content import Content

_OURSELVES = Client("local", protocol="local")


class Origin(NamedTuple):
    """The letter that is reported about."""

    id: LetterId
    sender: Sender
    """Its address is not None: nobody is told of a letter from nobody (RFC 5321 §4.5.5)."""
    arrived: float
    content: Content
    """In memory where it is small."""


class Bounces:
    """Writes reports for one worker. `token` gives unguessable octets, for MIME boundaries."""

    def __init__(
        self,
        hostname: str,
        ids: LetterIds,
        token: Callable[[int], bytes],
        lifetime: float,
        *,
        keep_journeys: bool,
    ) -> None:
        self._hostname = hostname
        self._ids = ids
        self._token = token
        self._lifetime = lifetime
        self._keep_journeys = keep_journeys

    def write(
        self, tx: Tx, origin: Origin, reports: Sequence[RecipientReport], now: float
    ) -> LetterId | None:
        """Put a letter with `reports` to the sender of `origin` into the queue; its id, or None if there
        is nobody to write to."""
        to = origin.sender.address
        if to is None or not reports:
            return None
        id = LetterId(self._ids.new())
        data = compose_dsn(
            hostname=self._hostname,
            dsn_id=show(id),
            letter_id=show(origin.id),
            sender=to,
            reports=reports,
            envid=origin.sender.envid,
            ret=origin.sender.ret,
            arrived=origin.arrived,
            now=now,
            head=origin.content.head,
            body=_body_in_memory(origin.content),
            boundary=self._token(12).hex(),
            smtputf8=origin.sender.smtputf8,
        )
        content = MemoryContent(data)
        trace = received_field(_OURSELVES, self._hostname, show(id), now, str(to))
        contents.put(tx, id, content.head, data[len(content.head) :], size=content.size)
        queued = QueueLetter(
            id=id,
            sender="",
            body=(BodyType.SEVEN_BIT if data.isascii() else BodyType.EIGHT_BIT_MIME).value,
            smtputf8=not to.ascii,
            ret=Return.UNSTATED.value,
            envid="",
            prefix=trace,
            content=id,
            size=len(trace) + content.size,
            arrived=now,
            expires=now + self._lifetime,
            parent=origin.id,
        )
        entry = NewEntry(1, str(to), int(Notify.NEVER), "", LOCAL, "")
        queue.insert(tx, queued, [entry], due=now, holder=0)
        if self._keep_journeys:
            record.begin(tx, [(id, [record.written(now, origin.id, [str(to)])])])
        return id


def _body_in_memory(content: Content) -> bytes | None:
    """The body of a small letter; a large one gives back its header section alone (RFC 3461 §4.3)."""
    return content.data[len(content.head) :] if isinstance(content, MemoryContent) else None
