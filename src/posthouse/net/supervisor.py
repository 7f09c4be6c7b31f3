"""The supervisor: opens the sockets, drops privileges, and keeps the workers alive.

It has no loop, no thread and no connection of its own; it waits for signals, one at a time:

    SIGCHLD            a worker ended: a new one gets the same sockets, later and later if it keeps dying
    SIGHUP             passed on: workers read configuration and certificates again, and we for later ones
    SIGTERM, SIGINT    passed on as SIGTERM: workers drain; after DRAIN_TIME whoever is left is killed
    SIGRTMIN           a worker tells that it serves

Only one supervisor runs on a data_directory: a lock file, inherited by the workers, is free again only
when the last of them has ended. When the supervisor dies, the kernel kills its workers; what they had
not committed was never answered with 250.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

from setproctitle import setproctitle

from posthouse.net.privileges import Owner, become, owner_of
from posthouse.net.sockets import ListenerSpec, Sockets, open_sockets, write_listeners
from posthouse.observe import log

DRAIN_TIME = 10.0
"""Seconds that a worker has to finish what it is doing."""
KILL_AFTER = DRAIN_TIME + 2.0
LOCK_WAIT = 5.0
"""Seconds that a second `posthouse serve` waits for the first to end."""
STEADY = 10.0
"""A worker that lived this long, in seconds, is restarted at once."""
LONGEST_PAUSE = 30.0

_READY = signal.SIGRTMIN
_SIGNALS = {signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, _READY}
_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl
_log = log.get("supervisor")


class Settings(Protocol):
    """What the supervisor reads of the configuration."""

    @property
    def data_directory(self) -> Path: ...
    @property
    def user(self) -> str: ...
    @property
    def workers(self) -> int: ...


class AlreadyRunning(Exception):
    """Another supervisor has the data directory."""


class WorkerContext:
    """What a worker knows of itself. `index` counts from 0 to `count` - 1."""

    def __init__(self, index: int, count: int, sockets: Mapping[str, Sequence[socket.socket]]) -> None:
        self.index = index
        self.count = count
        self.sockets = sockets
        """Listening sockets by name of listener."""
        self._supervisor = os.getppid()

    def ready(self) -> None:
        """Tell the supervisor that this worker serves."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._supervisor, _READY)

    def attach(
        self, loop: asyncio.AbstractEventLoop, *, reload: Callable[[], object], stop: Callable[[], object]
    ) -> None:
        """Call `reload` on SIGHUP and `stop` on SIGTERM, in the loop. `stop` has DRAIN_TIME seconds."""
        loop.add_signal_handler(signal.SIGHUP, reload)
        loop.add_signal_handler(signal.SIGTERM, stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def worker_count(configured: int) -> int:
    """The number of workers: as configured, or one per core that we may use."""
    return configured or len(os.sched_getaffinity(0))


def run(
    config: Settings,
    listeners: Iterable[ListenerSpec],
    worker_main: Callable[[WorkerContext], None],
    migrate: Callable[[], object],
    *,
    read: Callable[[], object] = lambda: None,
    explain: Callable[[Exception], tuple[int, str] | None] = lambda error: None,
) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status of the program.

    `migrate` runs once in a child before the first worker; `worker_main` runs in each worker, opens
    everything it needs itself, calls `context.ready()`, and returns when it has drained. `read` runs in this
    process, as the owner of the data, behind `migrate` and at each SIGHUP: workers find what it has read.
    `explain` gives exit status and remedy of an error that ends a child, or None for a defect of ours.
    Raises AlreadyRunning, CannotListen, NoSuchUser, OSError, and what `read` raises, before a
    worker was forked.
    """
    owner = owner_of(config.data_directory, config.user)
    run_directory = _run_directory(config.data_directory, owner)
    lock = _lock(config.data_directory, owner)
    try:
        sockets = open_sockets(listeners, worker_count(config.workers), (owner.uid, owner.gid))
        try:
            become(owner)
            description = write_listeners(run_directory, sockets.endpoints)
            try:
                supervisor = _Supervisor(sockets, worker_count(config.workers), worker_main, read, explain)
                return supervisor.serve(migrate)
            finally:
                description.unlink(missing_ok=True)
        finally:
            sockets.close()
    finally:
        os.close(lock)


class _Worker:
    """One place among the workers, and the process that has it now."""

    __slots__ = ("index", "pid", "quick_deaths", "restart_at", "started")

    def __init__(self, index: int) -> None:
        self.index = index
        self.pid = 0
        self.started = 0.0
        self.restart_at = 0.0
        self.quick_deaths = 0


class _Supervisor:
    def __init__(
        self,
        sockets: Sockets,
        count: int,
        worker_main: Callable[[WorkerContext], None],
        read: Callable[[], object],
        explain: Callable[[Exception], tuple[int, str] | None],
    ) -> None:
        self._sockets = sockets
        self._worker_main = worker_main
        self._read = read
        self._explain = explain
        self._workers = [_Worker(index) for index in range(count)]
        self._not_ready = set(range(count))
        self._stopping_since: float | None = None
        self._status = os.EX_OK

    def serve(self, migrate: Callable[[], object]) -> int:
        setproctitle("posthouse: supervisor")
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        # A signal that is ignored (SIGHUP under nohup) would never be seen.
        handlers = {number: signal.signal(number, _noted) for number in _SIGNALS}
        try:
            if (status := self._migrate(migrate)) != os.EX_OK:
                return status
            self._read()
            gc.collect()
            gc.freeze()  # what is here now stays shared between the workers
            for worker in self._workers:
                self._start(worker)
            while any(worker.pid for worker in self._workers) or self._stopping_since is None:
                self._step()
            _notify_systemd("STOPPING=1")
            return self._status
        finally:
            gc.unfreeze()
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _migrate(self, migrate: Callable[[], object]) -> int:
        child = self._fork("posthouse: migration", migrate)
        while True:
            received = signal.sigwait(_SIGNALS)
            if received in (signal.SIGTERM, signal.SIGINT):
                os.kill(child, signal.SIGTERM)
                os.waitpid(child, 0)
                return os.EX_TEMPFAIL
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return _exit_status(status)

    def _step(self) -> None:
        """Wait for one signal, or until something is due, and act."""
        received = signal.sigtimedwait(_SIGNALS, self._patience())
        number = received.si_signo if received is not None else 0
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP:
            _log.info("reloading")
            self._read()
            self._tell(signal.SIGHUP)
        elif number == _READY and received is not None:
            self._is_ready(received.si_pid)
        self._reap()
        if self._stopping_since is not None:
            if time.monotonic() - self._stopping_since >= KILL_AFTER:
                self._tell(signal.SIGKILL)
            return
        now = time.monotonic()
        for worker in self._workers:
            if not worker.pid and worker.restart_at <= now:
                self._start(worker)

    def _patience(self) -> float:
        """Seconds until something must be done without a signal."""
        now = time.monotonic()
        if self._stopping_since is not None:
            return max(0.0, min(1.0, self._stopping_since + KILL_AFTER - now))
        due = [worker.restart_at for worker in self._workers if not worker.pid]
        return max(0.0, min([3600.0, *(moment - now for moment in due)]))

    def _is_ready(self, pid: int) -> None:
        for worker in self._workers:
            if worker.pid == pid and worker.index in self._not_ready:
                self._not_ready.discard(worker.index)
                if not self._not_ready:
                    _notify_systemd(f"READY=1\nMAINPID={os.getpid()}")
                    _log.info("serving", workers=len(self._workers), **_shown(self._sockets))

    def _stop(self) -> None:
        if self._stopping_since is not None:
            self._tell(signal.SIGKILL)  # asked twice
            return
        self._stopping_since = time.monotonic()
        _notify_systemd("STOPPING=1")
        self._tell(signal.SIGTERM)

    def _tell(self, number: int) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, number)

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    self._ended(worker, _exit_status(status))

    def _ended(self, worker: _Worker, status: int) -> None:
        lived = time.monotonic() - worker.started
        worker.pid = 0
        if self._stopping_since is not None:
            return
        if worker.index in self._not_ready and len(self._not_ready) == len(self._workers):
            _log.error("a worker could not start", worker=worker.index, status=status)
            self._status = status or os.EX_SOFTWARE
            self._stop()
            return
        worker.quick_deaths = 0 if lived >= STEADY else worker.quick_deaths + 1
        pause = min(LONGEST_PAUSE, 0.1 * 2 ** (worker.quick_deaths - 2)) if worker.quick_deaths > 1 else 0.0
        worker.restart_at = time.monotonic() + pause
        _log.error("a worker ended; restarting", worker=worker.index, status=status, lived=round(lived, 1),
                   pause=pause)  # fmt: skip

    def _start(self, worker: _Worker) -> None:
        def work() -> None:
            self._sockets.keep_only(worker.index)
            self._worker_main(WorkerContext(worker.index, len(self._workers), self._sockets.of(worker.index)))

        worker.started = time.monotonic()
        worker.pid = self._fork(f"posthouse: worker {worker.index + 1}", work)

    def _fork(self, title: str, work: Callable[[], object]) -> int:
        """Fork a child that does `work` and ends; it dies with us. Returns its pid."""
        sys.stdout.flush()
        sys.stderr.flush()
        supervisor = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        self._be_child(supervisor, title, work)

    def _be_child(self, supervisor: int, title: str, work: Callable[[], object]) -> NoReturn:
        status = os.EX_SOFTWARE
        try:
            die_with(supervisor)
            setproctitle(title)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too; the supervisor decides
            # SIGHUP stays blocked, hence pending, until the worker listens to it.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS - {signal.SIGHUP})
            work()
            status = os.EX_OK
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else os.EX_SOFTWARE
        except BaseException as error:  # noqa: BLE001  (told; a child must never return into the supervisor)
            status = self._failed(title, error)
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _failed(self, title: str, error: BaseException) -> int:
        """Say why a child ends; its exit status."""
        explained = self._explain(error) if isinstance(error, Exception) else None
        if explained is None:
            _log.exception("ended by an error", process=title)
            return os.EX_SOFTWARE
        status, remedy = explained
        told = {"remedy": remedy} if remedy else {}
        _log.error("cannot go on", process=title, reason=str(error), **told)
        return status


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process `number` when its parent dies (prctl(2)); end if it is too late."""
    _prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(os.EX_UNAVAILABLE)


def _noted(number: int, frame: object) -> None:
    """A handler that does nothing: the signal is taken by sigtimedwait."""


def _exit_status(status: int) -> int:
    """An exit status of a process as a shell gives it: 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _shown(sockets: Sockets) -> dict[str, str]:
    return {name: " ".join(map(str, listed)) for name, listed in sockets.endpoints.items() if listed}


def _run_directory(data_directory: Path, owner: Owner) -> Path:
    """data_directory/run, which others may pass through to reach the submission socket."""
    directory = data_directory / "run"
    directory.mkdir(mode=0o711, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(directory, owner.uid, owner.gid)
    directory.chmod(0o711)
    return directory


def _lock(data_directory: Path, owner: Owner) -> int:
    """Lock the data directory; returns the descriptor. Raises AlreadyRunning after LOCK_WAIT seconds."""
    path = data_directory / "run" / "serve.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise AlreadyRunning(
                f"posthouse serve runs already on {data_directory} (process {holder or 'unknown'})"
            ) from None
        break
    if os.geteuid() == 0:
        os.fchown(descriptor, owner.uid, owner.gid)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _notify_systemd(state: str) -> None:
    """Tell systemd, where it is our parent and wants to know (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagram:
        try:
            datagram.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            _log.warning("systemd cannot be told", error=str(error))
