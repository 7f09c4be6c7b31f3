"""Notify: who watches an account learns of a change within a turn of the loop, in whatever process.

After a commit `Notifier.changed` tells the watchers of this process directly and every other worker by
one datagram to its Unix socket in `data_directory/run`: all changes of a turn in one, sent without
waiting, dropped when the other side is full. Workers of other hosts are told by the database's
announcements, where it has them. A lost word costs little: once a second the modseqs of the accounts being
watched are read. A socket whose process is gone is removed by the first who finds it so.

A datagram is `A` and pairs of 64-bit numbers (account, modseq), or `T` and the name of a topic: a poke
that something there is to be looked at (`queue`: a retry was asked for). `a` and `t` ask to tell other
hosts as well: the command line has no announcements of its own. It carries no content, so a forged one can
do no more than cause a look.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from posthouse.accounts import usage
from posthouse.db.errors import DatabaseError
from posthouse.mail.envelope import AccountId
from posthouse.store.announcing import TOPIC_LENGTH, Announcer

if TYPE_CHECKING:
    from posthouse.db import Database
    from posthouse.db.announcements import Announcements

QUEUE = "queue"
"""The topic of the queue's runners."""

_SUFFIX = ".notify"
_PAIR = struct.Struct("!QQ")
_PAIRS = 2000
"""Pairs per datagram: 32 KiB, well below what a socket takes."""
_SETTLED = 10**9
"""Nanoseconds after which the list of a directory that did not change is trusted."""
_READS = 64
"""Datagrams taken per turn, so that a flood leaves time for others."""


class _Peers:
    """The sockets of other processes in the run directory, and one of our own to send from."""

    def __init__(self, directory: Path, own: str = "") -> None:
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._own = own
        self._names: tuple[str, ...] = ()
        self._as_of = -1
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def path(self, name: str) -> str:
        """A path to `name` that is short, however deep the directory lies (sun_path holds 107 octets)."""
        return f"/proc/self/fd/{self._directory}/{name}"

    def send(self, data: bytes, *, abroad: bool = False) -> None:
        """To each of the others, at once or not at all; `abroad`: one of them is to tell other hosts."""
        changed = os.stat(self._directory).st_mtime_ns
        if changed != self._as_of:
            names = (name for name in os.listdir(self._directory) if name.endswith(_SUFFIX))
            self._names = tuple(name for name in names if name != self._own)
            # A directory's time is coarse: another socket may come within the same tick.
            self._as_of = changed if time.time_ns() - changed > _SETTLED else -1
        for name in self._names:
            try:
                self._socket.sendto(data[:1].lower() + data[1:] if abroad else data, self.path(name))
                abroad = False
            except ConnectionRefusedError:
                self._remove(name)
            except OSError:
                # Full, or gone since we looked: the poll makes up for it.
                self._as_of = -1

    def any_alive(self) -> bool:
        """Whether somebody holds one of the sockets."""
        for name in os.listdir(self._directory):
            if name.endswith(_SUFFIX):
                try:
                    self._socket.connect(self.path(name))
                except OSError:
                    continue
                return True
        return False

    def _remove(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._directory)
        except FileNotFoundError:
            return

    def close(self) -> None:
        self._socket.close()
        os.close(self._directory)


def _account_datagrams(changes: Iterable[tuple[AccountId, int]]) -> Iterable[bytes]:
    pairs = [_PAIR.pack(account, modseq) for account, modseq in changes]
    for start in range(0, len(pairs), _PAIRS):
        yield b"A" + b"".join(pairs[start : start + _PAIRS])


def tell(directory: Path, changes: Mapping[AccountId, int], topics: Iterable[str] = ()) -> None:
    """Tell all workers, from a process that is none (the command line). No run directory: nobody to tell."""
    if not directory.is_dir():
        return
    peers = _Peers(directory)
    try:
        for data in _account_datagrams(changes.items()):
            peers.send(data, abroad=True)
        for topic in topics:
            peers.send(b"T" + topic.encode(), abroad=True)
    finally:
        peers.close()


def is_served(directory: Path) -> bool:
    """Whether a worker of this host is there to be told."""
    if not directory.is_dir():
        return False
    peers = _Peers(directory)
    try:
        return peers.any_alive()
    finally:
        peers.close()


class Watch:
    """One watcher of an account, until closed."""

    __slots__ = ("_notifier", "account", "callback")

    def __init__(self, notifier: Notifier, account: AccountId, callback: Callable[[AccountId, int], object]):
        self._notifier = notifier
        self.account = account
        self.callback = callback

    def close(self) -> None:
        self._notifier.forget(self)


class Notifier:
    """Notification of one worker. Make it in the running loop, after fork."""

    def __init__(
        self,
        database: Database,
        directory: Path,
        announcements: Announcements | None = None,
        *,
        poll_seconds: float = 1.0,
    ) -> None:
        """`directory` is `data_directory/run`, made when missing; `announcements` reach other hosts."""
        self._database = database
        self._directory = directory
        self._poll_seconds = poll_seconds
        self._loop = asyncio.get_running_loop()
        self._watches: dict[AccountId, list[Watch]] = {}
        self._known: dict[AccountId, int] = {}
        self._topics: dict[str, list[Callable[[], object]]] = {}
        self._for_all: list[Callable[[AccountId], object]] = []
        self._pending: dict[AccountId, int] = {}
        self._pokes: set[str] = set()
        self._scheduled = False
        self._polling: asyncio.Task[None] | None = None
        self._announcer: Announcer | None = None
        if announcements is not None:
            self._announcer = Announcer(announcements, self._tell, self._tell_topic)

    def start(self) -> None:
        """Bind this worker's socket and begin to poll."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{os.getpid()}-{id(self):x}{_SUFFIX}"
        self._peers = _Peers(self._directory, name)
        self._path = self._directory / name
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(self._peers.path(name))
        self._loop.add_reader(self._socket.fileno(), self._receive)
        self._polling = self._loop.create_task(self._poll(), name="notify poll")
        if self._announcer is not None:
            self._announcer.start()

    async def close(self) -> None:
        """Send what is waiting, then stop."""
        if self._polling is None:
            return
        self._flush()
        self._polling.cancel()
        await asyncio.gather(self._polling, return_exceptions=True)
        self._polling = None
        if self._announcer is not None:
            await self._announcer.close()
        self._loop.remove_reader(self._socket.fileno())
        self._path.unlink(missing_ok=True)
        self._socket.close()
        self._peers.close()

    def watch(self, account: AccountId, callback: Callable[[AccountId, int], object]) -> Watch:
        """Call `callback(account, modseq)` on the loop after each change of the account, until closed.

        Begin to watch, then read: so nothing falls in between. There may be calls without need, above all
        a first one; several changes may come as one. A callback is short.
        """
        watch = Watch(self, account, callback)
        self._watches.setdefault(account, []).append(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        """End a watch; twice does no harm."""
        watches = self._watches.get(watch.account, [])
        if watch in watches:
            watches.remove(watch)
            if not watches:
                del self._watches[watch.account]
                self._known.pop(watch.account, None)

    def on(self, topic: str, callback: Callable[[], object]) -> None:
        """Call `callback()` on the loop whenever somebody pokes `topic`."""
        self._topics.setdefault(topic, []).append(callback)

    def on_every_change(self, callback: Callable[[AccountId], object]) -> None:
        """Call `callback(account)` on the loop after changes of any account; some may be lost."""
        self._for_all.append(callback)

    def changed(self, account: AccountId, modseq: int) -> None:
        """The account has changed and the change is durable: tell everybody, at the end of this turn."""
        if self._pending.get(account, 0) < modseq:
            self._pending[account] = modseq
        self._schedule()

    def poke(self, topic: str) -> None:
        """There is something to look at: tell everybody who listens to `topic`, ourselves included."""
        self._pokes.add(topic)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._polling is None:
            return
        changes, self._pending = self._pending, {}
        pokes, self._pokes = self._pokes, set()
        for data in _account_datagrams(changes.items()):
            self._peers.send(data)
        for account, modseq in changes.items():
            self._tell(account, modseq)
        for topic in pokes:
            self._peers.send(b"T" + topic.encode())
            self._tell_topic(topic)
        if self._announcer is not None:
            self._announcer.announce(changes, pokes)

    def _receive(self) -> None:
        for _ in range(_READS):
            try:
                data = self._socket.recv(1 + _PAIRS * _PAIR.size)
            except BlockingIOError:
                return
            self._understand(data)

    def _understand(self, data: bytes) -> None:
        kind, rest = data[:1], data[1:]
        changes: dict[AccountId, int] = {}
        topics: set[str] = set()
        if kind in (b"A", b"a") and len(rest) % _PAIR.size == 0:
            changes = {AccountId(account): modseq for account, modseq in _PAIR.iter_unpack(rest)}
        elif kind in (b"T", b"t") and len(rest) <= TOPIC_LENGTH:
            topics = {rest.decode("utf-8", "replace")}
        for account, modseq in changes.items():
            self._tell(account, modseq)
        for topic in topics:
            self._tell_topic(topic)
        if kind.islower() and self._announcer is not None:
            self._announcer.announce(changes, topics)

    def _tell(self, account: AccountId, modseq: int) -> None:
        for callback in self._for_all:
            self._call(callback, account)
        watches = self._watches.get(account)
        if watches is None or self._known.get(account, 0) >= modseq:
            return
        self._known[account] = modseq
        for watch in tuple(watches):
            self._call(watch.callback, account, modseq)

    def _tell_topic(self, topic: str) -> None:
        for callback in self._topics.get(topic, ()):
            self._call(callback)

    def _call(self, callback: Callable[..., object], *arguments: object) -> None:
        """One watcher's failure is reported and keeps nothing from the next."""
        try:
            callback(*arguments)
        except Exception as error:  # noqa: BLE001  # whatever it is, it goes to the loop's handler
            self._loop.call_exception_handler({"message": "a watcher failed", "exception": error})

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            if not self._watches:
                continue
            try:
                found = await self._database.read(partial(usage.modseqs, accounts=list(self._watches)))
            except DatabaseError:
                # Whoever reads next finds out for himself; the poll goes on.
                continue
            for account, modseq in found:
                self._tell(account, modseq)
