"""The listening sockets of the program, opened once by the supervisor before it drops its privileges.

A TCP address gets one SO_REUSEPORT socket per worker, so that the kernel spreads connections and no
worker waits for another; a Unix socket is one, shared by all. Port 0 lets the system choose one port
per address. What is really listened on stands in `run/listeners.json` under data_directory.

Refuses: an address that anybody else listens on already (SO_REUSEPORT alone would share it silently).
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from posthouse.config.endpoint import Endpoint
from posthouse.net.listener import BACKLOG
from posthouse.observe import log

MAX_UNIX_PATH = 107
"""Octets of sockaddr_un.sun_path on Linux, without the final zero (unix(7))."""
_log = log.get("net")


class ListenerSpec(NamedTuple):
    """A service and where it listens. `mode` is the permission of its Unix sockets."""

    name: str
    endpoints: tuple[Endpoint, ...]
    mode: int = 0o660


class CannotListen(Exception):
    """An address cannot be had; the text says which and why."""


class Sockets:
    """All listening sockets: one list per worker and listener, each socket in the order of its endpoint."""

    def __init__(self, workers: int) -> None:
        self._of_worker: list[dict[str, list[socket.socket]]] = [{} for _ in range(workers)]
        self._paths: list[Path] = []
        self.endpoints: dict[str, list[Endpoint]] = {}
        """What is listened on, with the real ports, by name of listener."""

    def of(self, worker: int) -> Mapping[str, Sequence[socket.socket]]:
        """The sockets of one worker, counted from 0, by name of listener."""
        return self._of_worker[worker]

    def keep_only(self, worker: int) -> None:
        """In a worker: close what belongs to others."""
        own = {id(s) for sockets in self._of_worker[worker].values() for s in sockets}
        for others in self._of_worker:
            for sockets in others.values():
                for listening in sockets:
                    if id(listening) not in own:
                        listening.close()

    def close(self) -> None:
        """Close all and remove the Unix sockets' files."""
        for of_worker in self._of_worker:
            for sockets in of_worker.values():
                for listening in sockets:
                    listening.close()
        for path in self._paths:
            path.unlink(missing_ok=True)

    def add(self, spec: ListenerSpec, owner: tuple[int, int] | None = None) -> None:
        """Open the sockets of a listener; Unix sockets go to `owner` (uid, gid). Raises CannotListen."""
        self.endpoints.setdefault(spec.name, [])
        for of_worker in self._of_worker:
            of_worker.setdefault(spec.name, [])
        for endpoint in spec.endpoints:
            if endpoint.path:
                shared = _open_unix(Path(endpoint.path), spec.mode, owner)
                self._paths.append(Path(endpoint.path))
                self._add(spec.name, endpoint, [shared] * len(self._of_worker))
            else:
                for family, address in _resolve(endpoint):
                    opened = _open_tcp(endpoint, family, address, len(self._of_worker))
                    if opened:
                        port = opened[0].getsockname()[1]
                        self._add(spec.name, Endpoint(address, port), opened)

    def _add(self, name: str, endpoint: Endpoint, opened: Sequence[socket.socket]) -> None:
        self.endpoints[name].append(endpoint)
        for of_worker, listening in zip(self._of_worker, opened, strict=True):
            of_worker[name].append(listening)


def open_sockets(
    specs: Iterable[ListenerSpec], workers: int, owner: tuple[int, int] | None = None
) -> Sockets:
    """Open everything, or nothing: raises CannotListen."""
    sockets = Sockets(workers)
    try:
        for spec in specs:
            sockets.add(spec, owner)
    except BaseException:
        sockets.close()
        raise
    return sockets


def write_listeners(directory: Path, endpoints: Mapping[str, Sequence[Endpoint]]) -> Path:
    """Write `listeners.json` into the run directory: our pid and the endpoints as text, by name."""
    path = directory / "listeners.json"
    listeners = {name: [str(endpoint) for endpoint in listed] for name, listed in endpoints.items()}
    draft = directory / f".listeners.{os.getpid()}"
    draft.write_text(json.dumps({"pid": os.getpid(), "listeners": listeners}, indent=1) + "\n")
    draft.replace(path)
    return path


def read_listeners(data_directory: Path) -> dict[str, list[str]]:
    """What a running `posthouse serve` listens on, by name of listener; empty when none runs."""
    try:
        written = json.loads((data_directory / "run" / "listeners.json").read_text())
        os.kill(written["pid"], 0)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return {}
    except PermissionError:
        pass
    listeners: dict[str, list[str]] = written["listeners"]
    return listeners


def _resolve(endpoint: Endpoint) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(endpoint.host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"cannot listen on {endpoint}: {error.strerror or error}") from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _open_tcp(
    endpoint: Endpoint, family: socket.AddressFamily, address: str, count: int
) -> list[socket.socket]:
    """`count` sockets on one address; none for IPv6 wildcards where the machine has no IPv6."""
    opened: list[socket.socket] = []
    port = endpoint.port
    try:
        if port:
            _bind(family, address, port, shared=False).close()  # fails where somebody else listens
        for _ in range(count):
            listening = _bind(family, address, port, shared=True)
            opened.append(listening)
            port = listening.getsockname()[1]
            listening.listen(BACKLOG)
    except OSError as error:
        for listening in opened:
            listening.close()
        if address == "::" and error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            _log.warning("no IPv6 on this machine", endpoint=str(endpoint))
            return []
        raise CannotListen(f"cannot listen on {endpoint}: {_advice(error, port)}") from None
    return opened


def _bind(family: socket.AddressFamily, address: str, port: int, *, shared: bool) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((address, port))
    except OSError:
        listening.close()
        raise
    return listening


def _advice(error: OSError, port: int) -> str:
    text = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return f"{text} (another mail server? `ss -ltnp sport = :{port}` shows it)"
    if error.errno == errno.EACCES and port < 1024:
        return f"{text} (ports below 1024 need root, or the capability CAP_NET_BIND_SERVICE)"
    return text


def _open_unix(path: Path, mode: int, owner: tuple[int, int] | None) -> socket.socket:
    if len(os.fsencode(path)) > MAX_UNIX_PATH:
        raise CannotListen(f"cannot listen on unix:{path}: longer than {MAX_UNIX_PATH} octets")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        before = os.umask(0o777 & ~mode)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        if owner is not None:
            os.chown(path, *owner)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise CannotListen(f"cannot listen on unix:{path}: {error.strerror or error}") from None
    return listening


def _remove_stale(path: Path) -> None:
    """Remove the socket of a server that is gone. Raises OSError when one is still there."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "there is something else than a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, "another server listens there")
