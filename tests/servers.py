"""Whole servers for tests: a `posthouse serve` of its own, or a worker in this process.

    with ServeProcess(tmp_path) as server:              # a subprocess, real time
        with server.smtp() as client: ...
        server.kill_worker()

    async with InProcess(tmp_path) as world:            # this loop, a clock that can be put forward
        south = await world.peer("south.test")          # another server, with MX and A records
        await world.send("alice@north.test", ["carol@south.test"])
        letter = await south.letter(0)

Both begin with `install`: a data directory with one domain, its accounts and aliases. A client that
connects from 127.0.0.1 is in mynetworks, one from `STRANGER` is not. All ports are the system's choice.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import imaplib
import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from posthouse.accounts import account as accounts_
from posthouse.accounts import alias as aliases_
from posthouse.accounts import credential as credentials
from posthouse.accounts import domain as domains
from posthouse.accounts.alias import Kind
from posthouse.accounts.password import hash_password, prepare
from posthouse.accounts.scram import derive
from posthouse.app import Worker
from posthouse.config import Config, load
from posthouse.db import Database, Reader, Tx, migrate, open_database
from posthouse.pocket.ca import PocketCa
from posthouse.pocket.clock import VirtualClock
from posthouse.pocket.dns import PocketDns
from posthouse.pocket.peer import ScriptedPeer
from posthouse.store import mailboxes

T = TypeVar("T")
Settings = Mapping[str, Any]
Aliases = Mapping[str, list[str] | tuple[Kind, list[str]]]

DOMAIN = "north.test"
HOSTNAME = "mail.north.test"
PASSWORD = "correct horse battery staple"
ACCOUNTS: Mapping[str, int | None] = {"alice": None, "bob": None}
STRANGER = "127.9.9.9"
"""A loopback address outside of mynetworks."""
PATIENCE = 30.0
"""Seconds after which what did not happen has failed."""
LISTENERS = ("smtp", "submission", "submissions", "lmtp", "imap", "imaps", "pop3", "pop3s")


def new_database() -> Settings:
    """The table [database] of an installation that says nothing about it; see `databases.whole_servers`."""
    return {}


@functools.cache
def _secret() -> str:
    return hash_password(prepare(PASSWORD))


@functools.cache
def _scram(mechanisms: tuple[str, ...]) -> str:
    return derive(prepare(PASSWORD), mechanisms)


# ── installations ────────────────────────────────────────────────────────────────────────────────


def install(
    directory: Path,
    settings: Settings | None = None,
    *,
    accounts: Mapping[str, int | None] | None = ACCOUNTS,
    aliases: Aliases | None = None,
) -> Path:
    """An installation for `DOMAIN` in `directory`; the path of its posthouse.toml.

    `settings`: tables of posthouse.toml, laid over what suits tests. `accounts`: local parts, or addresses
    of other domains of ours, with their quota in octets (None: the default); the password of all is
    `PASSWORD`; postmaster is the administrator; None for all: another host's database, filled by that one,
    is used. `aliases`: local part or address → targets, or (kind,
    targets). All domains in them are made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "posthouse.toml"
    database = {"database": new_database()}
    path.write_text(_toml(_merged(_merged(_defaults(), database), settings or {})))
    config = load(path)
    config.data_directory.mkdir(exist_ok=True)
    (config.data_directory / "run").mkdir(exist_ok=True)
    if accounts is None:
        return path
    migrate(config.database.url, config.data_directory)

    def fill(tx: Tx) -> None:
        now = time.time()
        wanted = {_full(name) for name in (*accounts, *(aliases or {}))}
        for domain in sorted({DOMAIN, *(address.rpartition("@")[2] for address in wanted)}):
            domains.add(tx, domain, now=now)
        for name, quota in {"postmaster": None, **accounts}.items():
            account = accounts_.add(tx, _full(name), now=now, admin=name == "postmaster", quota=quota)
            keys = _scram(config.accounts.auth_mechanisms)
            credentials.set_secret(tx, account.id, _secret(), now=now, scram=keys)
            mailboxes.create_defaults(tx, account.id, now)
        for name, what in (aliases or {}).items():
            kind, targets = what if isinstance(what, tuple) else (Kind.ALIAS, what)
            aliases_.add(tx, _full(name), [_full(target) for target in targets], now=now, kind=kind)

    async def write() -> None:
        database = open_database(config.database.url, config.data_directory)
        try:
            await database.write([], fill)
        finally:
            await database.close()

    _run_apart(write)
    return path


def _run_apart(work: Callable[[], Any]) -> None:
    """Run a coroutine function in a loop of its own, whether or not one runs here."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(work())).result()


def _full(name: str) -> str:
    return name if "@" in name else f"{name}@{DOMAIN}"


def _defaults() -> dict[str, Any]:
    return {
        "hostname": HOSTNAME,
        "workers": 2,
        "listen": {name: [] for name in LISTENERS} | {"smtp": ["127.0.0.1:0"], "imap": ["127.0.0.1:0"]},
        "smtp": {"mynetworks": ["127.0.0.1/32", "[::1]/128"], "client_connection_count_limit": 5000},
        "dns": {"nameservers": ["127.0.0.1:9"]},
    }


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(known, value) if both else value  # type: ignore[arg-type]
    return merged


def _toml(table: Mapping[str, Any], name: tuple[str, ...] = ()) -> str:
    """As TOML; strings, numbers, booleans and lists look as in JSON."""
    lines = [f"[{'.'.join(json.dumps(part) for part in name)}]"] if name else []
    lines += [
        f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, Mapping)
    ]
    inner = [_toml(value, (*name, key)) for key, value in table.items() if isinstance(value, Mapping)]
    return "\n".join(lines) + "\n" + "".join(inner)


# ── a program of its own ─────────────────────────────────────────────────────────────────────────


class ServeProcess:
    """`posthouse serve` as a subprocess. Starts with `with`, or `start`; ends with SIGTERM."""

    prefix: Sequence[str] = ()
    """What stands before the command."""

    def __init__(
        self,
        directory: Path,
        settings: Settings | None = None,
        *,
        accounts: Mapping[str, int | None] | None = ACCOUNTS,
        aliases: Aliases | None = None,
    ) -> None:
        self.directory = directory
        self.config_path = install(directory, settings, accounts=accounts, aliases=aliases)
        self.config: Config = load(self.config_path)
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = directory / "serve.log"
        self._ports: dict[str, tuple[str, int]] = {}

    # Life

    def __enter__(self) -> ServeProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.terminate()

    def start(self) -> None:
        """Start, and wait until the sockets are open; who connects is greeted as soon as a worker can."""
        listeners = self.config.data_directory / "run" / "listeners.json"
        listeners.unlink(missing_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "posthouse", "serve", "--config", str(self.config_path)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        until(lambda: listeners.exists() or not self.running, what="listening sockets")
        if not self.running:
            raise AssertionError(f"posthouse serve ended:\n{self.log[-4000:]}")
        found = json.loads(listeners.read_text())["listeners"]
        self._ports = {name: _host_and_port(listed[0]) for name, listed in found.items() if listed}

    def terminate(self, seconds: float = 20.0) -> int:
        """SIGTERM; the exit status once it has drained."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self._ended(seconds)

    def kill(self) -> None:
        """kill -9 of the supervisor; the kernel kills its workers. Returns when all are gone."""
        assert self.process is not None
        workers = self.workers()
        self.process.kill()
        self._ended(PATIENCE)
        until(lambda: not any(_alive(pid) for pid in workers), what="the end of all workers")

    def kill_worker(self, index: int = 0) -> int:
        """kill -9 of one worker; its pid."""
        # The kernel's list of children leaves one out now and then while others come and go (proc(5)).
        pid = until(lambda: self.workers()[index : index + 1], what="a worker")[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def reload(self) -> None:
        """SIGHUP."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def _ended(self, seconds: float) -> int:
        assert self.process is not None
        status = self.process.wait(seconds)
        self.process = None
        return status

    # What can be seen of it

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def workers(self) -> list[int]:
        """The pids of the living workers."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [pid for pid in map(int, path.read_text().split()) if _alive(pid) and _is_worker(pid)]

    def address(self, listener: str = "smtp") -> tuple[str, int]:
        """Where a listener is: host and port."""
        return self._ports[listener]

    def smtp(
        self, listener: str = "smtp", *, stranger: bool = False, timeout: float = PATIENCE
    ) -> smtplib.SMTP:
        """A client; `stranger`: from an address outside of mynetworks."""
        host, port = self.address(listener)
        kind = smtplib.LMTP if listener == "lmtp" else smtplib.SMTP
        source = (STRANGER, 0) if stranger else None
        if kind is smtplib.LMTP:
            return smtplib.LMTP(host, port, local_hostname="client.test", source_address=source)
        return smtplib.SMTP(host, port, "client.test", timeout, source)

    @contextlib.contextmanager
    def imap(self, user: str = "alice") -> Iterator[imaplib.IMAP4]:
        """An IMAP client that has logged in."""
        with imaplib.IMAP4(*self.address("imap"), timeout=PATIENCE) as client:
            client.login(_full(user), PASSWORD)
            yield client

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        found: list[tuple[Any, ...]] = []

        async def look() -> None:
            database = open_database(self.config.database.url, self.config.data_directory)
            try:
                found.extend(await database.read(lambda reader: reader.all(sql, values)))
            finally:
                await database.close()

        _run_apart(look)
        return found

    def run(self, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        """A command of `posthouse` on this installation."""
        return subprocess.run(
            [sys.executable, "-m", "posthouse", *arguments, "--config", str(self.config_path)],
            input=input,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def database_file(config: Config) -> Path:
    """The file of an SQLite database."""
    return config.data_directory / config.database.url.removeprefix("sqlite:///")


def until(condition: Callable[[], T], *, seconds: float = PATIENCE, what: str = "what was waited for") -> T:
    """Ask again and again until `condition` gives something true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come in {seconds} s")
        time.sleep(0.005)
    return result


async def eventually(
    condition: Callable[[], Any], *, seconds: float = PATIENCE, what: str = "what was waited for"
) -> Any:
    """Let the loop turn until `condition`, a function or coroutine function, gives something true."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                result = await result
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come in {seconds} s")
        await asyncio.sleep(0.002)


def _alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text[text.rindex(")") + 2] not in "ZX"


def _is_worker(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"posthouse: worker")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


# ── a worker in this process ─────────────────────────────────────────────────────────────────────


class InProcess:
    """One worker in the running loop, with DNS and other people's servers beside it, on a virtual clock."""

    def __init__(
        self,
        directory: Path,
        settings: Settings | None = None,
        *,
        accounts: Mapping[str, int | None] = ACCOUNTS,
        aliases: Aliases | None = None,
        listeners: Sequence[str] = ("smtp", "submission", "lmtp", "imap"),
    ) -> None:
        self.directory = directory
        self.clock = VirtualClock()
        self.dns = PocketDns(ttl=60)
        self.peers: dict[str, ScriptedPeer] = {}
        self._settings = settings or {}
        self._accounts = accounts
        self._aliases = aliases
        self._names = listeners
        self._ca: PocketCa | None = None

    async def __aenter__(self) -> InProcess:
        await self.dns.start()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.peer_port: int = probe.getsockname()[1]
        world = {
            "dns": {"nameservers": [self.dns.endpoint]},
            "outbound": {"port": self.peer_port},
            "listen": {name: ["127.0.0.1:0"] for name in self._names},
        }
        path = install(
            self.directory, _merged(world, self._settings), accounts=self._accounts, aliases=self._aliases
        )
        self.config = load(path)
        sockets = {name: [socket.create_server(("127.0.0.1", 0))] for name in self._names}
        self._ports = {name: opened.getsockname()[1] for name, (opened,) in sockets.items()}
        self.worker = Worker(self.config, sockets, clock=self.clock)
        self.clock.on_change(self.worker.road.runner.wake)
        await self.worker.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.worker.stop(2.0)
        for peer in self.peers.values():
            await peer.close()
        await self.dns.close()
        await self.clock.close()

    @property
    def database(self) -> Database:
        return self.worker.road.database

    @property
    def ca(self) -> PocketCa:
        """The certificate authority of the other servers."""
        if self._ca is None:
            self._ca = PocketCa(self.directory / "ca")
        return self._ca

    # Other people's servers

    async def peer(self, domain: str, preference: int = 10, **options: Any) -> ScriptedPeer:
        """Another server that takes mail for `domain`: one more MX host. `options`: as of ScriptedPeer."""
        number = len(self.peers) + 2
        peer = ScriptedPeer(f"mx{number}.{domain}", **options)
        await peer.start(f"127.0.0.{number}", self.peer_port)
        self.peers[peer.hostname] = peer
        self.dns.add(domain, "MX", f"{preference} {peer.hostname}.")
        self.dns.add(peer.hostname, "A", peer.address)
        return peer

    # Clients

    def address(self, listener: str = "smtp") -> tuple[str, int]:
        return "127.0.0.1", self._ports[listener]

    @contextlib.asynccontextmanager
    async def client(self, listener: str = "smtp", *, stranger: bool = False) -> AsyncIterator[Dialogue]:
        """A client that has been greeted and has said EHLO or LHLO."""
        async with dialogue(self.address(listener), STRANGER if stranger else "127.0.0.1") as client:
            await client.expect(220)
            await client.command("LHLO client.test" if listener == "lmtp" else "EHLO client.test")
            yield client

    async def send(
        self,
        sender: str,
        recipients: Sequence[str],
        content: bytes = b"Subject: a letter\r\n\r\nHello.\r\n",
        *,
        mail: str = "",
        stranger: bool = False,
    ) -> str:
        """Hand in one letter, which is accepted; its id. `mail`: parameters of MAIL; a recipient may have
        its own: `bob@north.test NOTIFY=NEVER`."""
        async with self.client(stranger=stranger) as client:
            replies = await client.letter(sender, recipients, content, mail=mail)
            return replies[-1].rpartition(" ")[2]

    # What became of it

    async def read(self, look: Callable[[Reader], T]) -> T:
        return await self.database.read(look)

    async def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        return await self.database.read(lambda reader: list(reader.all(sql, values)))

    async def mailbox(self, user: str = "alice", mailbox: str = "INBOX") -> list[bytes]:
        """The messages of a mailbox, whole, in the order of their UIDs."""
        rows = await self.rows(
            "SELECT email.prefix, content.head, content_body.body, content.blob FROM placement"
            " JOIN account ON account.id = placement.account"
            " JOIN mailbox ON mailbox.account = placement.account AND mailbox.id = placement.mailbox"
            " JOIN email ON email.account = placement.account AND email.id = placement.email"
            " JOIN content ON content.id = email.content"
            " LEFT JOIN content_body ON content_body.content = content.id"
            " WHERE account.address = ? AND mailbox.name = ? ORDER BY placement.uid",
            _full(user),
            mailbox,
        )
        return [
            prefix + (head + body if body is not None else await self._blob(blob))
            for prefix, head, body, blob in rows
        ]

    async def _blob(self, name: str) -> bytes:
        return b"".join([chunk async for chunk in self.worker.road.blobs.chunks(name)])

    async def queue(self) -> list[tuple[str, str, int, str]]:
        """The entries of the queue: recipient, next hop, attempts, reason."""
        return await self.rows(
            "SELECT recipient, next_hop, attempts, reason FROM queue_entry ORDER BY recipient"
        )

    async def until(
        self, condition: Callable[[], Any], *, seconds: float = PATIENCE, what: str = "what was waited for"
    ) -> Any:
        """Ask again until `condition`, a function or coroutine function, gives something true."""
        return await eventually(condition, seconds=seconds, what=what)

    async def idle(self) -> None:
        """Wait until no attempt is under way, and nothing is due."""

        async def quiet() -> bool:
            ((held, due),) = await self.rows(
                "SELECT count(CASE WHEN holder <> 0 THEN 1 END), min(CASE WHEN state = 'active' THEN due END)"
                " FROM queue_entry"
            )
            return not held and (due is None or due > self.clock.now())

        await self.until(quiet, what="an idle queue")

    async def next_attempt(self) -> bool:
        """Put the clock forward to the next entry that is due, and wait for its attempt; False: none."""
        await self.idle()
        rows = await self.rows("SELECT min(due) FROM queue_entry WHERE state = 'active'")
        if rows[0][0] is None:
            return False
        await self.clock.advance(max(0.0, rows[0][0] - self.clock.now()) + 0.001)
        await self.idle()
        return True


# ── a client that says exactly what it is told ───────────────────────────────────────────────────


class Dialogue:
    """An SMTP client for tests: each command line, and the reply as `250 2.1.0 text` (last line)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.lines: list[str] = []
        """All lines of the last reply."""

    async def reply(self) -> str:
        """The next reply; its last line. Empty when the connection has ended."""
        self.lines = []
        async with asyncio.timeout(PATIENCE):
            while True:
                line = (await self.reader.readline()).decode("utf-8", "replace").rstrip("\r\n")
                self.lines.append(line)
                if line[3:4] != "-":
                    return line

    async def expect(self, code: int) -> str:
        reply = await self.reply()
        assert reply.startswith(str(code)), f"{reply!r} where {code} was expected"
        return reply

    async def raw(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def command(self, line: str) -> str:
        """Say one line; the reply."""
        await self.raw(line.encode() + b"\r\n")
        return await self.reply()

    async def envelope(self, sender: str, recipients: Sequence[str], *, mail: str = "") -> list[str]:
        """MAIL and RCPTs; the replies. Parameters may follow a recipient after a space."""
        replies = [await self.command(f"MAIL FROM:<{sender}> {mail}".rstrip())]
        for recipient in recipients:
            address, _, parameters = recipient.partition(" ")
            replies.append(await self.command(f"RCPT TO:<{address}> {parameters}".rstrip()))
        return replies

    async def content(self, content: bytes, replies: int = 1) -> list[str]:
        """DATA and the letter; the replies to its end."""
        answer = await self.command("DATA")
        assert answer.startswith("354"), answer
        body = content.replace(b"\r\n.", b"\r\n..")
        body = b"." + body if body.startswith(b".") else body
        await self.raw(body + (b"" if body.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        return [await self.reply() for _ in range(replies)]

    async def letter(
        self, sender: str, recipients: Sequence[str], content: bytes, *, mail: str = ""
    ) -> list[str]:
        """A whole transaction in which nobody is refused; the replies."""
        replies = await self.envelope(sender, recipients, mail=mail)
        refused = [reply for reply in replies if not reply.startswith("25")]
        assert not refused, refused
        replies += await self.content(content)
        assert replies[-1].startswith("250"), replies[-1]
        return replies


@contextlib.asynccontextmanager
async def dialogue(address: tuple[str, int], source: str = "127.0.0.1") -> AsyncIterator[Dialogue]:
    """A connection, not yet greeted."""
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    try:
        yield Dialogue(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
