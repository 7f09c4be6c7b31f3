"""What became of every letter that was answered 250: exactly one fate for each recipient."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from posthouse.pocket.peer import ScriptedPeer
from posthouse.store.flags import Flag
from tests.cluster.cluster import REFUSED, Cluster
from tests.cluster.load import AWAY, Load, kind_and_number, recipients_of, sender_of
from tests.cluster.watcher import Message
from tests.servers import DOMAIN

_NAME = re.compile(rb"^Subject: (\w+-\d+)\r?$", re.MULTILINE | re.IGNORECASE)


class Fate(NamedTuple):
    """`where`: a recipient whose mailbox it is in, `relayed`, `bounced` or `queued`."""

    name: str
    where: str


def _name(head: bytes) -> str:
    found = _NAME.search(head)
    return found[1].decode() if found else ""


def in_mailboxes(cluster: Cluster) -> Iterator[Fate]:
    """Every copy in whatever mailbox; a bounce counts for the letter that it is about."""
    rows = cluster.postgres.ask(
        "SELECT account.address, content.head, coalesce(content_body.body, '') FROM placement"
        " JOIN account ON account.id = placement.account"
        " JOIN email ON email.account = placement.account AND email.id = placement.email"
        " JOIN content ON content.id = email.content"
        " LEFT JOIN content_body ON content_body.content = content.id"
    )
    for address, head, body in rows:
        name = _name(bytes(head))
        if name:
            yield Fate(name, address)
        elif about := _name(bytes(body)):
            assert address == sender_of(about), (address, about)
            yield Fate(about, "bounced")


def in_queue(cluster: Cluster) -> Iterator[Fate]:
    rows = cluster.postgres.ask(
        "SELECT content.head FROM queue_entry JOIN queue_letter ON queue_letter.id = queue_entry.letter"
        " JOIN content ON content.id = queue_letter.content"
    )
    for (head,) in rows:
        yield Fate(_name(bytes(head)), "queued")


def at_the_sink(sink: ScriptedPeer) -> Iterator[Fate]:
    for received in sink.letters:
        yield Fate(_name(received.content), "relayed")


def inbox(cluster: Cluster, account: str) -> dict[int, Message]:
    """What every client of the account should have, by UID."""
    rows = cluster.postgres.ask(
        "SELECT uid, flags, keywords, placement.modseq FROM placement"
        " JOIN account ON account.id = placement.account"
        " JOIN mailbox ON mailbox.account = placement.account AND mailbox.id = placement.mailbox"
        " WHERE account.address = %s AND mailbox.name = 'INBOX'",
        f"{account}@{DOMAIN}",
    )
    return {
        uid: Message(
            frozenset([*(rf"\{flag.name.title()}" for flag in Flag if flags & flag), *keywords.split()]),
            modseq,
        )
        for uid, flags, keywords, modseq in rows
    }


def copies_of(cluster: Cluster, name: str) -> list[tuple[object, ...]]:
    """The copies of a letter, or of the bounces about it: ids of email and content, mailbox and UID."""
    return cluster.postgres.ask(
        "SELECT email.id, content.id, mailbox.name, placement.uid FROM placement"
        " JOIN mailbox ON mailbox.account = placement.account AND mailbox.id = placement.mailbox"
        " JOIN email ON email.account = placement.account AND email.id = placement.email"
        " JOIN content ON content.id = email.content"
        " LEFT JOIN content_body ON content_body.content = content.id"
        " WHERE position(%s::bytea IN content.head || coalesce(content_body.body, '')) > 0",
        f"Subject: {name}\r\n".encode(),
    )


def expected_of(name: str) -> list[Fate]:
    fates = {AWAY: "relayed", REFUSED: "bounced"}
    return [Fate(name, fates.get(recipient, recipient)) for recipient in recipients_of(name)]


def check(cluster: Cluster, load: Load, sink: ScriptedPeer) -> list[str]:
    """Raises AssertionError where a promise was broken; the names of letters that were relayed twice."""
    there = itertools.chain(in_mailboxes(cluster), in_queue(cluster), at_the_sink(sink))
    found = Counter(fate for fate in there if kind_and_number(fate.name)[1] >= load.first)
    expected = {fate for name in load.promised for fate in expected_of(name)}
    lost = sorted(expected - found.keys())
    assert not lost, f"lost {lost[:10]} of {len(load.promised)}"
    known = load.promised.keys() | load.in_doubt
    strange = [fate for fate in found if fate.name not in known or fate not in expected_of(fate.name)]
    assert not strange, f"{strange[:10]} are there without a promise"
    twice = [fate for fate, count in found.items() if count > 1]
    copied = [fate for fate in twice if fate.where != "relayed"]
    assert not copied, (copied, [copies_of(cluster, fate.name) for fate in copied[:3]])
    # Whoever had no 250 has its letter at all of its recipients, or at none.
    for name in load.in_doubt:
        present = {fate in found for fate in expected_of(name)}
        assert len(present) == 1, name
    return sorted((fate.name for fate in twice), key=kind_and_number)
