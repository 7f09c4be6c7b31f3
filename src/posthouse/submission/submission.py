"""What a user's letter must be, and what we add to it (RFC 6409).

    may_send(user, address)    the envelope's and the header's addresses must be the user's own (§6.1, §8.1)
    prepare(head, sender)       Date, Message-ID and From are added where missing (§8), Bcc is removed
    objection(user, head)        why the header section cannot be taken

A user of the machine who comes by the Unix socket (`posthouse sendmail`) may send as whoever he likes, as
with any sendmail; the trace field and the journey name his uid. The body is never changed.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from posthouse.mail.address import Address, AddressError, parse_mailbox_list
from posthouse.mail.dates import format_date
from posthouse.mail.header import HeaderIndex, add_fields, remove_fields
from posthouse.mail.ids import LetterIds, show
from posthouse.mail.reply import Reply

if TYPE_CHECKING:
    from posthouse.ports import Clock
    from posthouse.routing import Router

LOCAL_USER = "uid:"
"""Begins the name of a user who is known by his uid alone."""

HEADER_FROM_NOT_OWNED = Reply(550, "5.7.1", "The address in From is not yours")
NO_AUTHOR = Reply(554, "5.6.0", "The letter has no From field, and the sender is null")
UNREADABLE_FROM = Reply(554, "5.6.0", "The From field cannot be read")
TOO_MANY_AUTHORS = Reply(554, "5.6.0", "The From field names too many authors")

AUTHORS_LIMIT = 100
"""Authors of one letter: of a longer list not all would be looked at."""

_HIDDEN = ("Bcc", "Resent-Bcc", "Return-Path")


class Submission:
    """Submission for one worker."""

    def __init__(self, router: Router, ids: LetterIds, clock: Clock, hostname: str) -> None:
        self._router = router
        self._ids = ids
        self._clock = clock
        self._hostname = hostname

    def may_send(self, user: str, address: Address | None) -> bool | Awaitable[bool]:
        """Whether `user` may send as `address`. The null sender is everybody's (RFC 6409 §6.1)."""
        if address is None or not user or user.startswith(LOCAL_USER):
            return True
        return self._router.owns(user, address)

    def prepare(self, head: bytes, sender: Address | None) -> bytes:
        """The header section as it goes on: completed, and without what was for us alone."""
        header = HeaderIndex(head)
        if any(header.first(name) is not None for name in _HIDDEN):
            head = remove_fields(head, _HIDDEN)
        added = []
        if header.first("From") is None and sender is not None:
            added.append(f"From: {sender}\r\n")
        if header.first("Date") is None:  # RFC 6409 §8.2
            added.append(f"Date: {format_date(self._clock.now())}\r\n")
        if header.first("Message-ID") is None:  # RFC 6409 §8.3
            added.append(f"Message-ID: <{show(self._ids.new())}@{self._hostname}>\r\n")
        return add_fields(head, "".join(added).encode()) if added else head

    def objection(self, user: str, head: bytes) -> Reply | Awaitable[Reply | None] | None:
        """What is wrong with the authors that the header section names; None: nothing."""
        authors = HeaderIndex(head).all("From")
        if not authors:
            return NO_AUTHOR
        if not user or user.startswith(LOCAL_USER):
            return None
        try:
            listed = parse_mailbox_list(b", ".join(authors).decode("utf-8", "replace"))
        except AddressError as error:
            return UNREADABLE_FROM.saying(f"{UNREADABLE_FROM.text}: {error}")
        addresses = list(dict.fromkeys(address for _, address in listed))
        if not addresses:
            return UNREADABLE_FROM
        if len(listed) > AUTHORS_LIMIT:
            return TOO_MANY_AUTHORS
        return self._owned(user, addresses)

    async def _owned(self, user: str, addresses: list[Address]) -> Reply | None:
        for address in addresses:
            owned = self.may_send(user, address)
            if not (owned if isinstance(owned, bool) else await owned):
                return HEADER_FROM_NOT_OWNED.saying(f"The address {address} in From is not yours")
        return None
