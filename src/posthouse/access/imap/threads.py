"""Threads: which message answers which (RFC 5256 §3).

Pure functions over what is known of the messages, column by column, in the order of the mailbox; no
recursion, so that a thread may be as deep as a mailbox is large, and no object for a message, of which there
may be a hundred thousand. A message is a number from 0; numbers behind the last message stand for *places*:
messages that others answer and that are not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

_NONE = -1


class Known(NamedTuple):
    """What threading has to know of messages; of each column, the same number of values."""

    sent: Sequence[float]
    """When they were sent, seconds since 1970."""
    subjects: Sequence[bytes]
    """Base subjects, folded; empty where there is none."""
    replies: Sequence[int]
    """Whether the subject is that of a reply or a forwarded message."""
    ids: Sequence[bytes] = ()
    """Message-IDs; empty where there is none."""
    references: Sequence[bytes] = ()
    """The ids that they refer to, the oldest first, parted by spaces."""


class Threads:
    """Messages and places, each below the one that it answers."""

    def __init__(self, messages: int, nodes: int) -> None:
        """`nodes`: of messages and places together; all stand alone."""
        self.messages = messages
        self.roots: list[int] = []
        self._first = [_NONE] * nodes
        self._last = [_NONE] * nodes
        self._next = [_NONE] * nodes

    def answers(self, node: int) -> Iterator[int]:
        """What stands directly below a node, in its order."""
        at = self._first[node]
        while at != _NONE:
            yield at
            at = self._next[at]

    def add(self, node: int, answer: int) -> None:
        """Put an answer below a node, behind those that are there."""
        last = self._last[node]
        if last == _NONE:
            self._first[node] = answer
        else:
            self._next[last] = answer
        self._last[node] = answer

    def put(self, node: int, answers: Sequence[int]) -> None:
        """Put these, and nothing else, below a node."""
        self._first[node] = self._last[node] = _NONE
        for answer in answers:
            self._next[answer] = _NONE
            self.add(node, answer)

    def new_place(self) -> int:
        for column in (self._first, self._last, self._next):
            column.append(_NONE)
        return len(self._first) - 1

    def first_message(self, node: int) -> int:
        """The message at a node, or the first of those that answer what is not here."""
        return node if node < self.messages else self._first[node]

    def only_answer(self, node: int) -> int:
        """What stands below a node if it is one thing alone, else -1."""
        first = self._first[node]
        return first if first == self._last[node] else _NONE


def by_subject(known: Known) -> Threads:
    """ORDEREDSUBJECT (RFC 5256 §3): one thread per base subject, all answering the first one sent."""
    threads = Threads(len(known.sent), len(known.sent))
    subject = known.subjects.__getitem__
    for _, group in groupby(sorted(_as_sent(known), key=subject), key=subject):
        first, *rest = group
        threads.roots.append(first)
        threads.put(first, rest)
    threads.roots.sort(key=lambda root: (known.sent[root], root))
    return threads


def by_references(known: Known) -> Threads:
    """REFERENCES (RFC 5256 §3)."""
    threads = _gathered(known, _parents(known))
    _join_by_subject(threads, known)
    return threads


def _as_sent(known: Known) -> list[int]:
    """The messages by the date sent; of equals, the first in the mailbox first (RFC 5256 §3)."""
    return sorted(range(len(known.sent)), key=known.sent.__getitem__)


def _parents(known: Known) -> list[int]:
    """Step 1: what each message and each place answers, or -1."""
    messages = len(known.ids)
    # RFC 5256 §3 (1): of two messages with one id, the second has none.
    nodes = dict(zip(reversed(known.ids), range(messages - 1, -1, -1), strict=True))
    nodes.pop(b"", None)
    parents = [_NONE] * messages
    answered = [False] * messages
    for message, references in enumerate(known.references):
        above = _NONE
        for reference in references.split():
            node = nodes.get(reference)
            if node is None:
                node = nodes[reference] = len(parents)
                parents.append(_NONE)
                answered.append(False)
            # Step 1 A: unless it has a parent already, or that would make a loop.
            if (
                above != _NONE
                and parents[node] == _NONE
                and not (node == above or (answered[node] and _is_above(parents, node, above)))
            ):
                parents[node] = above
                answered[above] = True
            above = node
        # A message's own word on its parent outweighs what others said (step 1 B).
        if above == _NONE:
            parents[message] = _NONE
        elif not (message == above or (answered[message] and _is_above(parents, message, above))):
            parents[message] = above
            answered[above] = True
    return parents


def _is_above(parents: list[int], node: int, other: int) -> bool:
    """Whether `node` is `other` or above it."""
    while other != _NONE:
        if other == node:
            return True
        other = parents[other]
    return False


def _gathered(known: Known, parents: list[int]) -> Threads:
    """Step 2 to 4: the threads, siblings by the date sent.

    Places give way to what is below them, but for roots of several.
    """
    messages = len(known.sent)
    threads = Threads(messages, len(parents))
    roots: list[int] = []
    for message in _as_sent(known):
        parent = parents[message]
        if parent >= messages:
            parent = _message_above(parents, parent, messages)
        if parent == _NONE:
            roots.append(message)
            continue
        if parent >= messages and threads.first_message(parent) == _NONE:
            roots.append(parent)
        threads.add(parent, message)
    threads.roots = [_itself_or_only(threads, root) for root in roots]
    return threads


def _message_above(parents: list[int], place: int, messages: int) -> int:
    """What a place gives way to: the next message above it, or the root place."""
    passed = [place]
    while (above := parents[place]) >= messages:
        passed.append(above)
        place = above
    found = place if above == _NONE else above
    for one in passed[:-1]:
        # who comes this way again has one step to go
        parents[one] = found
    return found


def _itself_or_only(threads: Threads, root: int) -> int:
    only = threads.only_answer(root)
    return root if root < threads.messages or only == _NONE else only


def _join_by_subject(threads: Threads, known: Known) -> None:
    """Step 5 and 6: threads with one base subject become one."""
    subjects, replies, messages = known.subjects, known.replies, threads.messages
    firsts = [threads.first_message(root) for root in threads.roots]
    table: dict[bytes, int] = {}
    for root, first in zip(threads.roots, firsts, strict=True):
        there = table.setdefault(subjects[first], root)
        if there < messages and (root >= messages or (replies[there] and not replies[first])):
            table[subjects[first]] = root
    table.pop(b"", None)
    more: dict[int, list[int]] = {}
    kept: list[int] = []
    moved: set[int] = set()
    for root, first in zip(threads.roots, firsts, strict=True):
        there = table.get(subjects[first], root)
        if there == root:
            kept.append(root)
        elif root in moved:
            continue
        elif there >= messages:
            more.setdefault(there, []).extend([root] if root < messages else threads.answers(root))
        elif replies[first] and not replies[there]:
            more.setdefault(there, []).append(root)
        else:
            # two equals become siblings, below a place that stands for their subject from now on
            place = table[subjects[first]] = threads.new_place()
            more[place] = [there, root]
            moved.add(there)
            kept.append(place)
    for node, answers in more.items():
        # of a place, answers are messages; and so are those that have a subject in common with one
        both = [*threads.answers(node), *answers]
        threads.put(node, sorted(both, key=lambda message: (known.sent[message], message)))
    threads.roots = [root for root in kept if root not in moved]
    if more:
        by_date = [(known.sent[first], first) for first in map(threads.first_message, threads.roots)]
        threads.roots = [root for _, root in sorted(zip(by_date, threads.roots, strict=True))]


_CLOSE, _OPEN = -1, -2


def write(threads: Threads, numbers: Iterable[int]) -> bytes:
    """Threads as THREAD says them: `(2)(3 6 (4 23)(44 7 96))` (RFC 5256 §4).

    `numbers`: sequence number or UID of each message.
    """
    texts = list(map(str, numbers))
    pieces: list[str] = []
    for root in threads.roots:
        waiting = [_CLOSE, root, _OPEN]
        while waiting:
            node = waiting.pop()
            if node < 0:
                pieces.append("(" if node == _OPEN else ")")
                continue
            while (only := threads.only_answer(node)) >= 0:
                pieces += (texts[node], " ")
                node = only
            answers = list(threads.answers(node))
            if node < threads.messages:
                pieces.append(f"{texts[node]} " if answers else texts[node])
            for answer in reversed(answers):
                waiting += (_CLOSE, answer, _OPEN)
    return "".join(pieces).encode()
