"""Plan: what becomes of each recipient, worked out with no transaction open and nothing touched.

Takes what routing found at RCPT and asks delivery about each local recipient. Equal final recipients
become one; each failure behind an alias has a fate of its own (RFC 5321 §3.9).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from posthouse.acceptance.letter import Bounce, Fate, Letter, Plan, Queue, Store
from posthouse.delivery import local as delivery
from posthouse.mail.address import canonical, parse_address
from posthouse.mail.envelope import Recipient
from posthouse.queue.entries import LOCAL
from posthouse.routing.notification import carry_over
from posthouse.routing.route import Kind, Local, Remote, Resolution, Unknown


class Accepted(NamedTuple):
    """A recipient that RCPT said yes to, and what routing made of it."""

    recipient: Recipient
    resolution: Resolution


def plan(letter: Letter, accepted: Sequence[Accepted], first: int = 1) -> Plan:
    """One fate for each final recipient; they are numbered from `first`."""
    fates: list[Fate] = []
    expanded: list[Recipient] = []
    lots: list[tuple[int, ...]] = []
    index_of: dict[str, int] = {}
    for recipient, resolution in accepted:
        notify, orcpt, is_expanded = carry_over(resolution, recipient)
        if is_expanded:
            expanded.append(recipient)
        lot = []
        for final in (*resolution.finals, *resolution.failures):
            key = final.address if isinstance(final, Local) else canonical(final.address)
            index = index_of.get(key)
            if index is None:
                index = index_of[key] = len(fates)
                wanted = Recipient(recipient.address, notify, orcpt)
                fates.append(_fate(letter, first + index, final, wanted, resolution.kind))
            lot.append(index)
        lots.append(tuple(lot))
    return Plan(tuple(fates), tuple(expanded), tuple(lots))


def _fate(
    letter: Letter, number: int, final: Local | Remote | Unknown, recipient: Recipient, kind: Kind
) -> Fate:
    """The fate of one final recipient, of a RCPT for `recipient`, which is a `kind`."""
    if isinstance(final, Local):
        placed = delivery.deliver(letter.header, letter.sender, letter.trace, recipient.address, final)
        if kind is not Kind.LOCAL:  # behind an alias: what fails is told of him, not of all others
            recipient = recipient._replace(address=parse_address(final.address))
        if isinstance(placed, delivery.Placed):
            return Store(number, recipient, final.account, final.address, placed.mailbox, placed.prefix)
        return Bounce(number, recipient, placed.reply)
    wanted = Recipient(final.address, recipient.notify, recipient.orcpt)
    if isinstance(final, Remote):
        return Queue(number, wanted, final.next_hop)
    if final.reply.transient:
        return Queue(number, wanted, LOCAL, final.reply)
    return Bounce(number, wanted, final.reply)
