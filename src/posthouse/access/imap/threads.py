"""Threads: which message answers which (RFC 5256 §3).

Pure functions over what is known of each message, in the order of the mailbox; no recursion, so that a
thread may be as deep as a mailbox is large.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple


class Known(NamedTuple):
    """What threading has to know of a message."""

    number: int
    """Its sequence number or UID, as it is to be told."""
    sent: float
    subject: bytes
    """Base subject, folded."""
    reply: bool
    """Its subject is that of a reply or a forwarded message."""
    id: bytes = b""
    """Message-ID; empty where there is none."""
    references: Sequence[bytes] = ()
    """The ids it refers to, the oldest first."""


class Node:
    """A message in its thread, or a place for one that is not here."""

    __slots__ = ("answered", "children", "message", "parent")

    def __init__(self, message: Known | None = None) -> None:
        self.message = message
        self.parent: Node | None = None
        self.children: list[Node] = []
        self.answered = False
        """It may have nodes below it."""

    def put_below(self, parent: Node) -> None:
        """Make it an answer to `parent`, unless that would make a loop."""
        if self is parent or (self.answered and _is_above(self, parent)):
            return
        self.parent = parent
        parent.answered = True


def by_subject(messages: Sequence[Known]) -> list[Node]:
    """ORDEREDSUBJECT (RFC 5256 §3): one thread per base subject, all answering the first one sent."""
    ordered = sorted(messages, key=lambda known: (known.subject, known.sent, known.number))
    roots = []
    for _, group in groupby(ordered, key=lambda known: known.subject):
        first, *rest = map(Node, group)
        first.children = rest
        roots.append(first)
    return sorted(roots, key=_first_sent)


def by_references(messages: Sequence[Known]) -> list[Node]:
    """REFERENCES (RFC 5256 §3)."""
    roots = _pruned(_linked(messages))
    _sort(roots)
    roots = _joined_by_subject(roots)
    _sort(roots)
    return roots


def _linked(messages: Sequence[Known]) -> list[Node]:
    """Step 1 and 2: each message below the last one that it refers to; the roots."""
    by_id: dict[bytes, Node] = {}
    nodes: list[Node] = []
    for known in messages:
        node = by_id.get(known.id) if known.id else None
        if node is None or node.message is not None:
            # RFC 5256 §3 (1): of two messages with one id, the second has none
            new = Node(known)
            if node is None and known.id:
                by_id[known.id] = new
            node = new
            nodes.append(node)
        else:
            node.message = known
        above: Node | None = None
        for reference in known.references:
            other = by_id.get(reference)
            if other is None:
                other = by_id[reference] = Node()
                nodes.append(other)
            if above is not None and other.parent is None:
                other.put_below(above)
            above = other
        # A message's own word on its parent outweighs what others said (step 1 B).
        if above is None:
            node.parent = None
        else:
            node.put_below(above)
    for node in nodes:
        if node.parent is not None:
            node.parent.children.append(node)
    return [node for node in nodes if node.parent is None]


def _is_above(node: Node, other: Node) -> bool:
    """Whether `node` is `other` or above it."""
    at: Node | None = other
    while at is not None:
        if at is node:
            return True
        at = at.parent
    return False


def _pruned(roots: list[Node]) -> list[Node]:
    """Step 3: places without a message give way to what is below them, but for roots of several."""
    for node in _children_first(roots):
        node.children = _lifted(node.children)
    return [
        root
        for node in roots
        for root in ([node] if node.message is not None or len(node.children) > 1 else node.children)
    ]


def _lifted(children: list[Node]) -> list[Node]:
    found: list[Node] = []
    for child in children:
        found += [child] if child.message is not None else child.children
    return found


def _children_first(roots: Iterable[Node]) -> list[Node]:
    order: list[Node] = []
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting += node.children
    return order[::-1]


def _first(node: Node) -> Known:
    """The message of a node, or of its first child: a place without one has children, sorted already."""
    while node.message is None:
        node = node.children[0]
    return node.message


def _first_sent(node: Node) -> tuple[float, int]:
    known = _first(node)
    return known.sent, known.number


def _sort(roots: list[Node]) -> None:
    """Step 4 and 6: siblings by the date sent."""
    for node in _children_first(roots):
        if len(node.children) > 1:
            node.children.sort(key=_first_sent)
    roots.sort(key=_first_sent)


def _joined_by_subject(roots: list[Node]) -> list[Node]:
    """Step 5: threads with one base subject become one."""
    table: dict[bytes, Node] = {}
    for root in roots:
        known = _first(root)
        if not known.subject:
            continue
        there = table.get(known.subject)
        if there is None or (
            there.message is not None and (root.message is None or (_first(there).reply and not known.reply))
        ):
            table[known.subject] = root
    kept: list[Node] = []
    moved: set[int] = set()
    for root in roots:
        known = _first(root)
        there = table.get(known.subject, root)
        if there is root:
            kept.append(root)
        elif id(root) in moved:
            continue
        elif there.message is None:
            there.children += root.children if root.message is None else [root]
        elif known.reply and not there.message.reply:
            there.children.append(root)
        else:
            # two equals become siblings, below a place that stands for their subject from now on
            place = table[known.subject] = Node()
            place.children = [there, root]
            moved.add(id(there))
            kept.append(place)
    return [root for root in kept if id(root) not in moved]


def write(roots: Iterable[Node]) -> bytes:
    """Threads as THREAD says them: `(2)(3 6 (4 23)(44 7 96))` (RFC 5256 §4)."""
    pieces: list[str] = []
    waiting: list[Node | str] = []
    for root in roots:
        waiting += [")", root, "("]
        while waiting:
            node = waiting.pop()
            if isinstance(node, str):
                pieces.append(node)
                continue
            if node.message is not None:
                pieces.append(str(node.message.number))
                if node.children:
                    pieces.append(" ")
            if len(node.children) == 1:
                waiting.append(node.children[0])
                continue
            for child in reversed(node.children):
                waiting += [")", child, "("]
    return "".join(pieces).encode()
