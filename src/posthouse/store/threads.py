"""Threads: which emails of an account belong together, told once and for ever (RFC 8474 §5.2).

An email joins the thread that the first of its keys (`mail.conversation`) is known to, else it begins
one, named by its own id; keys that nobody had are the thread's from then on. So an answer that comes
before what it answers, and two answers to a letter that is not here, find each other. A THREADID never
changes: an email that belongs to two threads joins the nearer one, and they stay two.

Few ask, so it is not done while letters arrive: an email has thread 0 until somebody asks for threads of
its account, or the indexer has nothing better to do. `complete` then goes through them in the order in
which they came. Keys of threads that are gone are swept now and then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from posthouse.mail import conversation
from posthouse.mail.header import HeaderIndex
from posthouse.store.uids import listed

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId

BATCH = 500
"""Emails or keys that one call of `complete` or `stale` looks at."""


def join(tx: Tx, account: AccountId, emails: Sequence[tuple[int, Sequence[int]]]) -> list[int]:
    """The threads of emails that have none yet, given with their keys, one after another.

    To be called under the account's lock.
    """
    wanted = sorted({key for _, keys in emails for key in keys})
    known: dict[int, int] = {}
    for condition, some in listed(wanted, "hash"):
        known.update(
            tx.all(f"SELECT hash, thread FROM thread_key WHERE account = ? AND {condition}", (account, *some))
        )
    new = set(wanted).difference(known)
    threads = []
    for email, keys in emails:
        thread = next((known[key] for key in keys if key in known), email)
        threads.append(thread)
        for key in keys:
            known.setdefault(key, thread)
    tx.many(
        "INSERT INTO thread_key (account, hash, thread) VALUES (?, ?, ?)",
        [(account, key, known[key]) for key in sorted(new)],
    )
    return threads


def complete(tx: Tx, account: AccountId) -> bool:
    """Find the threads of some emails that have none yet, the oldest first; whether there may be more."""
    rows = tx.all(
        "SELECT e.id, c.head FROM email e JOIN content c ON c.id = e.content"
        " WHERE e.account = ? AND e.thread = 0 ORDER BY e.id LIMIT ?",
        (account, BATCH),
    )
    emails = [(email, conversation.keys(HeaderIndex(head))) for email, head in rows]
    tx.many(
        "UPDATE email SET thread = ? WHERE account = ? AND id = ?",
        [
            (thread, account, email)
            for thread, (email, _) in zip(join(tx, account, emails), emails, strict=True)
        ],
    )
    return len(rows) == BATCH


def incomplete(reader: Reader, account: AccountId) -> bool:
    """Whether `complete` has something to do."""
    return reader.one("SELECT 1 FROM email WHERE account = ? AND thread = 0", (account,)) is not None


def members(reader: Reader, account: AccountId, thread: int) -> list[int]:
    """The emails of a thread, the oldest first."""
    rows = reader.all("SELECT id FROM email WHERE account = ? AND thread = ? ORDER BY id", (account, thread))
    return [email for (email,) in rows]


class Stale:
    """Sweeps keys whose threads are gone: looks for them without a lock, a batch at a time."""

    def __init__(self) -> None:
        self._after = (0, -(1 << 63))
        self.found: list[tuple[int, int]] = []
        """Account and key."""

    def look(self, reader: Reader) -> bool:
        """Look at the next batch; whether there was one."""
        account, hash = self._after
        rows = reader.all(
            "SELECT account, hash, thread FROM thread_key WHERE account = ? AND hash > ?"
            " ORDER BY hash LIMIT ?",
            (account, hash, BATCH),
        )
        if not rows:
            row = reader.one("SELECT min(account) FROM thread_key WHERE account > ?", (account,))
            if row is None or row[0] is None:
                return False
            self._after = row[0], -(1 << 63)
            self.found = []
            return True
        self._after = rows[-1][0], rows[-1][1]
        alive: set[int] = set()
        for condition, some in listed(sorted({thread for _, _, thread in rows}), "thread"):
            alive.update(
                thread
                for (thread,) in reader.all(
                    f"SELECT DISTINCT thread FROM email WHERE account = ? AND {condition}", (account, *some)
                )
            )
        self.found = [(account, hash) for account, hash, thread in rows if thread not in alive]
        return True

    def sweep(self, tx: Tx) -> None:
        """Delete what was found, unless it has come to life since; to be called under the account's lock."""
        tx.many(
            "DELETE FROM thread_key WHERE account = ? AND hash = ? AND NOT EXISTS"
            " (SELECT 1 FROM email e WHERE e.account = thread_key.account AND e.thread = thread_key.thread)",
            self.found,
        )
