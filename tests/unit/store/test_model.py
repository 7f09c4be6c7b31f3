"""Random operations beside a model: what sessions see, what is charged and what is kept always agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.store import changes, mailboxes, removal, snapshot
from posthouse.store.changes import Action, QuotaExceeded, Terms
from posthouse.store.deposit import Deposited
from posthouse.store.flags import Flag
from posthouse.store.snapshot import Entry, Snapshot

NAMES = ("INBOX", "Archive", "Trash", "Work")
QUOTA = 900

_uids = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 5)), min_size=1, max_size=3).map(
    lambda pairs: [(first, first + more) for first, more in pairs]
)
_name = st.sampled_from(("INBOX", "INBOX", *NAMES))
_words = st.sets(st.sampled_from(["$Junk", "work", "Later"]), max_size=2).map(sorted)
_operation = st.one_of(
    st.tuples(st.just("deposit"), _name, st.integers(1, 200)),
    st.tuples(st.just("deposit"), st.just("INBOX"), st.integers(1, 20)),
    st.tuples(st.just("store"), _name, _uids, st.sampled_from(Action), st.integers(0, 31), _words),
    st.tuples(st.just("expunge"), _name, _uids, st.booleans()),
    st.tuples(st.just("copy"), _name, _uids, _name),
    st.tuples(st.just("move"), _name, _uids, _name),
    st.tuples(st.just("delete"), st.just("Work")),
    st.tuples(st.just("rename"), st.just("INBOX")),
    st.tuples(st.just("look")),
)


@dataclass
class Box:
    """What a mailbox must hold: UID → [email, flags, keywords]."""

    messages: dict[int, tuple[int, int, frozenset[str]]] = field(default_factory=dict)
    uidnext: int = 1

    def add(self, message: tuple[int, int, frozenset[str]]) -> int:
        self.messages[self.uidnext] = message
        self.uidnext += 1
        return self.uidnext - 1

    def among(self, ranges: list[tuple[int, int]]) -> list[int]:
        return [uid for uid in sorted(self.messages) if any(a <= uid <= b for a, b in ranges)]


class Run:
    """The store, the model, and one session on each mailbox that looks now and then."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.account = store.account(1, quota=QUOTA)
        mailboxes.create(store.tx, self.account, "Work", 2e6)
        self.boxes = {name: Box() for name in NAMES}
        self.sizes: dict[int, int] = {}
        self.sessions: dict[str, Snapshot] = {name: self.fresh(name) for name in NAMES}
        self.modseq = 0

    def fresh(self, name: str) -> Snapshot:
        return snapshot.take(self.store.tx, self.account, self.store.mailbox(self.account, name).id)

    def id(self, name: str) -> int:
        return int(self.store.mailbox(self.account, name).id)

    @property
    def used(self) -> int:
        kept = [message[0] for box in self.boxes.values() for message in box.messages.values()]
        return sum(self.sizes[email] for email in kept)

    def deposit(self, name: str, size: int) -> None:
        fits = self.used + size <= QUOTA
        result = self.store.deposit(self.account, name, size=size)
        assert (type(result) is Deposited) is fits
        if fits:
            email = self.store.ids
            self.sizes[email] = size
            assert self.boxes[name].add((email, 0, frozenset())) == result.uid
        else:
            self.store.contents.release(self.store.tx, [self.store.ids - 1])

    def change(self, name: str, ranges: Any, action: Action, flags: int, words: list[str]) -> None:
        changes.store(self.store.tx, self.account, self.id(name), ranges, action, flags, words)
        box = self.boxes[name]
        for uid in box.among(ranges):
            email, old, kept = box.messages[uid]
            if action is Action.SET:
                box.messages[uid] = email, flags, frozenset(words)
            elif action is Action.ADD:
                box.messages[uid] = email, old | flags, kept | set(words)
            else:
                box.messages[uid] = email, old & ~flags, kept - set(words)

    def expunge(self, name: str, ranges: Any, deleted_only: bool) -> None:
        box = self.boxes[name]
        gone = [uid for uid in box.among(ranges) if not deleted_only or box.messages[uid][1] & Flag.DELETED]
        done = changes.expunge(
            self.store.tx, self.store.contents, self.account, self.id(name), ranges, deleted_only=deleted_only
        )
        assert done.uids == gone
        for uid in gone:
            del box.messages[uid]

    def copy(self, name: str, ranges: Any, target: str, *, move: bool = False) -> None:
        sources = self.boxes[name].among(ranges)
        messages = [self.boxes[name].messages[uid] for uid in sources]
        arguments = (self.store.tx, self.account, self.id(name), ranges, target, Terms(5e6, 0))
        if move:
            done = changes.move(*arguments, self.store.contents)
        elif self.used + sum(self.sizes[message[0]] for message in messages) > QUOTA:
            with pytest.raises(QuotaExceeded):
                changes.copy(*arguments)
            return
        else:
            done = changes.copy(*arguments)
        targets = [self.boxes[target].add(message) for message in messages]
        assert (done.sources, done.targets) == (sources, targets)
        if move:
            for uid in sources:
                del self.boxes[name].messages[uid]

    def delete(self) -> None:
        """Delete Work and make it again."""
        before = self.store.mailbox(self.account, "Work").uidvalidity
        mailboxes.delete(self.store.tx, self.account, "Work")
        made = mailboxes.create(self.store.tx, self.account, "Work", 2e6)
        assert made[-1].uidvalidity > before
        while removal.sweep(self.store.tx, self.store.contents, self.account, 2) == 2:
            pass
        self.boxes["Work"] = Box()
        self.sessions["Work"] = self.fresh("Work")

    def rename(self) -> None:
        """Rename INBOX over Work, which is deleted first."""
        self.delete()
        mailboxes.delete(self.store.tx, self.account, "Work")
        mailboxes.rename(self.store.tx, self.account, "INBOX", "Work", 2e6)
        removal.sweep(self.store.tx, self.store.contents, self.account)
        inbox = self.boxes["INBOX"]
        self.boxes["Work"] = Box(inbox.messages, inbox.uidnext)
        self.boxes["INBOX"] = Box({}, inbox.uidnext)
        self.sessions["Work"] = self.fresh("Work")

    def look_everywhere(self) -> None:
        for name in NAMES:
            self.look(name)

    def look(self, name: str) -> None:
        """A session catches up by a delta, and knows what a new one would."""
        session, fresh = self.sessions[name], self.fresh(name)
        before = {session.uids[at]: session.entry(at) for at in range(len(session))}
        delta = snapshot.delta(self.store.tx, self.account, session.mailbox)
        applied = session.apply(delta)
        assert _entries(session) == _entries(fresh)
        assert session.mailbox == fresh.mailbox
        assert applied.expunged == sorted(set(before) - set(fresh.uids))
        assert len(before) - len(applied.expunged) + applied.added == len(fresh)
        again = session.apply(delta)
        assert (again.expunged, again.changed, again.added) == ([], [], 0)
        self.agrees(name, fresh)

    def agrees(self, name: str, view: Snapshot) -> None:
        expected = self.boxes[name].messages
        assert view.mailbox.uidnext == self.boxes[name].uidnext
        assert {
            entry.uid: (entry.email, entry.flags, frozenset(entry.keywords.split()))
            for entry in _entries(view)
        } == expected
        assert list(view.sizes) == [self.sizes[expected[uid][0]] for uid in view.uids]

    def step(self, operation: tuple[Any, ...]) -> None:
        kind, *rest = operation
        if kind == "deposit":
            self.deposit(*rest)
        elif kind == "store":
            self.change(*rest)
        elif kind == "expunge":
            self.expunge(*rest)
        elif kind in ("copy", "move"):
            self.copy(*rest, move=kind == "move")
        elif kind == "look":
            self.look_everywhere()
        else:
            getattr(self, kind)()
        modseq = self.store.number("SELECT modseq FROM account WHERE id = 1")
        assert modseq >= self.modseq
        self.modseq = modseq
        assert self.store.number("SELECT max(modseq) FROM mailbox") <= modseq
        assert self.store.used(self.account) == self.used <= QUOTA
        kept = {message[0] for box in self.boxes.values() for message in box.messages.values()}
        for table in ("email", "content", "content_body"):
            assert self.store.number(f"SELECT count(*) FROM {table}") == len(kept)


def _entries(view: Snapshot) -> list[Entry]:
    return [view.entry(at) for at in range(len(view))]


@settings(deadline=None, max_examples=150)
@given(st.lists(_operation, min_size=10, max_size=50))
def test_store_and_model_agree_after_every_change(
    new_store: Callable[[], Any], operations: list[tuple[Any, ...]]
) -> None:
    # given
    run = Run(new_store())
    # when
    for operation in operations:
        run.step(operation)
    # then
    run.look_everywhere()
