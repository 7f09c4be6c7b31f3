"""What a maildrop shows to a client that has not said UTF8 (RFC 6856).

In place of internationalized messages it has surrogates. Their sizes are found out at the first login, and at
later ones those of what has come meanwhile; they are kept (`store.surrogates`), so that a login with nothing
new costs one look-up. The surrogate itself is made when the client retrieves it. Unique-ids stay as they are.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from posthouse.db import DatabaseError
from posthouse.observe import log
from posthouse.store import surrogates
from posthouse.store.surrogates import Known, Surrogate

if TYPE_CHECKING:
    from posthouse.access.services import Services
    from posthouse.mail.envelope import AccountId
    from posthouse.store.read import Message
    from posthouse.store.snapshot import Snapshot

_log = log.get("access")
_BATCH = 1000
"""Messages whose headers are looked at in one read."""


async def sizes_of(services: Services, account: AccountId, view: Snapshot, known: Known) -> dict[int, int]:
    """Octets of each surrogate of a mailbox, by UID; `known` is what had been found out before.

    Raises DatabaseError.
    """
    there = {uid: size for uid, size in known.sizes.items() if view.index(uid) is not None}
    gone = known.sizes.keys() - there.keys()
    new, mark = {}, known.mark
    begin = bisect_left(view.uids, mark)
    for first, last in pairwise([*range(begin, len(view), _BATCH), len(view)]):
        span = ((view.uids[first], view.uids[last - 1]),)
        look = partial(surrogates.suspects, account=account, mailbox=view.mailbox.id, ranges=span)
        for uid in await services.database.read(look):
            size = await _size(services, account, view, uid)
            if size:
                new[uid] = size
    if begin < len(view):
        mark = view.uids[-1] + 1
    if gone or mark > known.mark:
        mailbox = view.mailbox.id
        services.database.write_later(
            lambda tx: surrogates.keep(tx, account, mailbox, mark, new, gone), (account,)
        )
    return there | new


async def _size(services: Services, account: AccountId, view: Snapshot, uid: int) -> int:
    """Octets of a message's surrogate; 0: it needs none. Raises DatabaseError where its row is away."""
    found = await _opened(services, account, view, uid)
    if found is None:
        return 0
    message, parts = found
    try:
        surrogate = await surrogates.surrogate_of(message, parts=parts)
    except (DatabaseError, EOFError) as problem:  # RFC 6856 §2.1: sizes SHOULD be right
        _log.warning("a message cannot be looked at", account=account, reason=str(problem))
        return message.size
    return 0 if surrogate is None else surrogate.size


async def open_surrogate(
    services: Services, account: AccountId, view: Snapshot, uid: int
) -> Surrogate | Message | None:
    """What is sent of a message; itself where it can go out as it is, None when it is gone.

    Raises DatabaseError, EOFError.
    """
    found = await _opened(services, account, view, uid)
    if found is None:
        return None
    message, parts = found
    surrogate = await surrogates.surrogate_of(message, parts=parts)
    if surrogate is None:
        return message
    await message.read(message.size - 1, 1)  # it is there, so that it can be promised
    return surrogate


async def _opened(
    services: Services, account: AccountId, view: Snapshot, uid: int
) -> tuple[Message, bool] | None:
    mailbox, blobs = view.mailbox.id, services.blobs
    return await services.database.read(
        lambda reader: surrogates.open_one(reader, blobs, account, mailbox, uid)
    )
