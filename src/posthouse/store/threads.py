"""Threads: which emails of an account belong together, told once and for ever (RFC 8474 §5.2).

An email joins the thread that the first of its keys (`mail.conversation`) is known to, else it begins
one, named by its own id; keys that nobody had are the thread's from then on. So an answer that comes
before what it answers, and two answers to a letter that is not here, find each other. A THREADID never
changes: an email that belongs to two threads joins the nearer one, and they stay two.

It is done when an email is deposited. What came before threads were kept, or from another account, has
thread 0 until somebody asks (`complete`). Keys of threads that are gone are swept now and then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from posthouse.mail import conversation
from posthouse.mail.header import HeaderIndex
from posthouse.store.uids import listed

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId

_SOME = "SELECT hash, thread FROM thread_key WHERE account = ? AND"
_ONE = f"{_SOME} hash = ?"
_JOIN_ONE = (
    "INSERT INTO thread_key (account, hash, thread) VALUES (?, ?, ?)"
    " ON CONFLICT (account, hash) DO UPDATE SET thread = thread_key.thread RETURNING thread"
)

BATCH = 500
"""Emails or keys that one call of `complete` or `stale` looks at."""


def join(tx: Tx, account: AccountId, email: int, keys: Sequence[int]) -> int:
    """The thread of a new email. To be called under the account's lock."""
    if len(keys) == 1:  # a letter that answers none
        ((thread,),) = tx.all(_JOIN_ONE, (account, keys[0], email))
        return int(thread)
    known = [row for rows in tx.ask(questions(account, keys)) for row in rows]
    return join_known(tx, account, email, keys, dict(known))


def questions(account: AccountId, keys: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
    """What to ask for the threads that keys are known to: rows of key and thread."""
    if len(keys) == 1:
        return [(_ONE, (account, keys[0]))]
    return [(f"{_SOME} {condition}", (account, *some)) for condition, some in listed(keys, "hash")]


def join_known(tx: Tx, account: AccountId, email: int, keys: Sequence[int], known: Mapping[int, int]) -> int:
    """`join` where it is known already which thread each of the keys leads to."""
    if not keys:
        return email
    thread = next((known[key] for key in keys if key in known), email)
    tx.many(
        "INSERT INTO thread_key (account, hash, thread) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(account, key, thread) for key in keys if key not in known],
    )
    return thread


def complete(tx: Tx, account: AccountId) -> bool:
    """Find the threads of some emails that have none yet, the oldest first; whether there may be more."""
    rows = tx.all(
        "SELECT e.id, c.head FROM email e JOIN content c ON c.id = e.content"
        " WHERE e.account = ? AND e.thread = 0 ORDER BY e.id LIMIT ?",
        (account, BATCH),
    )
    for email, head in rows:
        thread = join(tx, account, email, conversation.keys(HeaderIndex(head)))
        tx.run("UPDATE email SET thread = ? WHERE account = ? AND id = ?", (thread, account, email))
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
