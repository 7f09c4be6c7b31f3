"""The database away for a while, or the object store: everybody is told to come back, nothing is lost,
nothing is twice there, and when it is back all goes on by itself.
"""

from __future__ import annotations

import contextlib
import imaplib
import itertools
import os
import poplib
import re
import smtplib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import PostgresServer, object_store, only_postgresql, postgres
from tests.nexthop import NextHop
from tests.proxy import CutProxy
from tests.servers import PASSWORD, PATIENCE, ServeProcess, until

pytestmark = only_postgresql

LISTEN = {name: ["127.0.0.1:0"] for name in ("smtp", "submission", "imap", "pop3")}
IMPATIENT = {"connect_timeout": "2s", "statement_timeout": "2s", "blobs_timeout": "2s"}
LARGE = b"y" * 70 + b"\r\n"


def letter(subject: object, size: int = 0) -> bytes:
    return b"Subject: %s\r\n\r\n" % str(subject).encode() + LARGE * (size // len(LARGE)) + b"end\r\n"


@pytest.fixture
def proxy() -> Iterator[CutProxy]:
    """The way to PostgreSQL."""
    with CutProxy(str(postgres().directory / ".s.PGSQL.5432")) as proxy:
        yield proxy


def through(proxy: CutProxy) -> str:
    """A fresh schema by way of the proxy."""
    options = postgres().fresh().partition("&")[2]
    return f"postgresql://posthouse@127.0.0.1:{proxy.port}/postgres?{options}"


@pytest.fixture
def server(tmp_path: Path, proxy: CutProxy) -> Iterator[ServeProcess]:
    database = IMPATIENT | {"url": through(proxy)}
    with ServeProcess(tmp_path, {"listen": LISTEN, "database": database}) as server:
        until(lambda: len(server.workers()) == 2, what="both workers")
        yield server


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """A server for this test alone."""
    server = PostgresServer(postgres().programs)
    yield server
    server.stop()


def subjects(server: ServeProcess, user: str = "bob") -> list[str]:
    """Of all messages in INBOX."""
    with server.imap(user) as client:
        client.select("INBOX", readonly=True)
        _, found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        heads = b"".join(part[1] for part in found if isinstance(part, tuple))
        return sorted(re.findall(r"Subject: (\S+)", heads.decode()))


def send(client: smtplib.SMTP, subject: object, size: int = 0) -> tuple[int, bytes]:
    """One letter to bob, command by command; the first refusal, or the reply to the end of data."""
    client.ehlo_or_helo_if_needed()
    for command in ("MAIL FROM:<alice@north.test>", "RCPT TO:<bob@north.test>", "DATA"):
        code, said = client.docmd(command)
        if code >= 400:
            client.rset()
            return code, said
    client.send(letter(subject, size) + b".\r\n")
    return client.getreply()


def accepted(client: smtplib.SMTP, subject: object, size: int = 0) -> bool:
    """Whether it was; else it was refused for the time being, and the connection lives."""
    code, said = send(client, subject, size)
    assert code == 250 or (code in (451, 452) and said.startswith(b"4.")), (code, said)
    return code == 250


def in_the_end(client: smtplib.SMTP, subject: object, size: int = 0) -> None:
    """Sent again and again until it is accepted; ever more seldom, for who asks too often is sent away."""
    pauses = iter(min(0.05 * 1.2**tries, 2.0) for tries in itertools.count())

    def try_it() -> bool:
        if accepted(client, subject, size):
            return True
        time.sleep(next(pauses))
        return False

    until(try_it, what="an end of the outage")


def refusal(call: Callable[[], Any]) -> str:
    """What the server says against it."""
    try:
        said = call()
    except (imaplib.IMAP4.error, poplib.error_proto, smtplib.SMTPException) as error:
        return str(error)
    if isinstance(said, tuple) and said[0] == "NO":  # imaplib
        return f"NO {said[1][0].decode()}"
    return ""


class Sessions:
    """One of each kind, in the middle of something."""

    def __init__(self, server: ServeProcess, stack: contextlib.ExitStack) -> None:
        self.server = server
        self.smtp = stack.enter_context(server.smtp())
        self.imap = stack.enter_context(server.imap("bob"))
        assert self.imap.select("INBOX")[0] == "OK"
        self.pop3 = poplib.POP3(*server.address("pop3"), timeout=PATIENCE)
        stack.callback(self.pop3.close)
        self.pop3.user("bob@north.test")
        self.pop3.pass_(PASSWORD)

    def everybody_is_told_to_come_back(self) -> None:
        """Those in a session, and those who come anew."""
        assert "[UNAVAILABLE]" in refusal(lambda: self.imap.fetch("1", "(BODY.PEEK[])"))
        assert "[UNAVAILABLE]" in refusal(lambda: self.imap.select("Drafts"))
        assert "[SYS/TEMP]" in refusal(lambda: self.pop3.retr(1))
        assert not accepted(self.smtp, "never")
        assert self.smtp.noop()[0] == 250
        with self.server.smtp() as another:
            assert not accepted(another, "never")
        with self.server.smtp("submission") as user:
            assert "454" in refusal(lambda: user.login("alice@north.test", PASSWORD))
        with imaplib.IMAP4(*self.server.address("imap"), timeout=PATIENCE) as client:
            assert "[UNAVAILABLE]" in refusal(lambda: client.login("alice@north.test", PASSWORD))
        client = poplib.POP3(*self.server.address("pop3"), timeout=PATIENCE)
        client.user("alice@north.test")
        assert "[SYS/TEMP]" in refusal(lambda: client.pass_(PASSWORD))
        client.close()

    def all_go_on(self) -> None:
        """In the same sessions as before."""
        in_the_end(self.smtp, "after")
        until(lambda: not refusal(lambda: self.imap.select("INBOX")), what="the mailbox")
        assert self.imap.fetch("1", "(BODY.PEEK[])")[0] == "OK"
        until(lambda: not refusal(lambda: self.pop3.retr(1)), what="the maildrop")
        with self.server.smtp("submission") as user:
            until(lambda: not refusal(lambda: user.login("alice@north.test", PASSWORD)), what="a login")


@pytest.mark.parametrize("how", [CutProxy.refuse, CutProxy.swallow], ids=["refused", "swallowed"])
def test_while_the_database_is_away_all_are_told_so_and_afterwards_go_on(
    server: ServeProcess, proxy: CutProxy, how: Callable[[CutProxy], None]
) -> None:
    with contextlib.ExitStack() as stack:
        with server.smtp() as client:
            assert accepted(client, "before")
        sessions = Sessions(server, stack)
        workers = server.workers()
        # when the database is away, by a reset or without a word, then all are told;
        how(proxy)
        sessions.everybody_is_told_to_come_back()
        # when it is back, then all go on,
        proxy.heal()
        sessions.all_go_on()
        # in the same processes, and what was refused is nowhere.
        assert server.workers() == workers
        assert subjects(server) == ["after", "before"]


def test_a_server_that_restarts_is_come_back_to(tmp_path: Path, own: PostgresServer) -> None:
    settings = {"listen": LISTEN, "database": IMPATIENT | {"url": own.fresh()}}
    with ServeProcess(tmp_path, settings) as server, contextlib.ExitStack() as stack:
        with server.smtp() as client:
            assert accepted(client, "before")
        sessions = Sessions(server, stack)
        # 57P01 to those who are connected, no socket and then 57P03 to those who connect
        own.halt()
        sessions.everybody_is_told_to_come_back()
        own.start()
        sessions.all_go_on()
        assert subjects(server) == ["after", "before"]


def test_every_250_of_an_unsteady_network_is_there_once(server: ServeProcess, proxy: CutProxy) -> None:
    # given clients that send without end, each letter once,
    told: list[str] = []
    stop = threading.Event()

    def work(number: int) -> None:
        with server.smtp() as client:
            for count in range(10_000):
                if stop.is_set():
                    return
                subject = f"{number}.{count}"
                if accepted(client, subject):
                    told.append(subject)
                else:
                    stop.wait(0.05)  # not so fast as to be taken for a nuisance

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    # when all connections to the database are reset again and again,
    try:
        for _ in range(12):
            more = len(told) + 15
            until(lambda more=more: len(told) >= more or not threads[0].is_alive(), what="more letters")
            proxy.drop()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    # then what was answered 250 is there once, and what was refused is not there.
    assert len(told) > 100
    there: list[str] = []
    until(lambda: not refusal(lambda: there.extend(subjects(server))), what="an end of the last outage")
    assert there == sorted(told)


@pytest.mark.parametrize("how", [CutProxy.refuse, CutProxy.swallow], ids=["refused", "swallowed"])
def test_an_attempt_that_ends_while_the_database_is_away_is_recorded_afterwards_and_not_made_again(
    tmp_path: Path, proxy: CutProxy, how: Callable[[CutProxy], None]
) -> None:
    with NextHop() as south:
        settings = {"listen": LISTEN, "database": IMPATIENT | {"url": through(proxy)}}
        settings["outbound"] = {"relayhost": f"[127.0.0.1]:{south.port}"}
        with ServeProcess(tmp_path, settings) as server:
            # given a letter on its way, of which the next hop has everything but the final dot,
            with server.smtp() as client:
                client.sendmail("alice@north.test", ["carol@south.test"], letter("once"))
            south.asked.wait(PATIENCE)
            # when the database goes away before the next hop says yes,
            how(proxy)
            south.go_on.set()
            until(lambda: south.letters, what="the letter")
            with server.smtp() as client:
                assert not accepted(client, "never")
            proxy.heal()
            # then the outcome is recorded when it is back, and there was one letter.
            until(lambda: "carol" not in server.run("queue", "list").stdout, what="an empty queue")
            assert len(south.letters) == 1
            assert "Delivered to carol" in server.run("journey", "carol@south.test").stdout


# ── failover ─────────────────────────────────────────────────────────────────────────────────────


class Standby(PostgresServer):
    """A server that follows another until it is promoted."""

    def __init__(self, primary: PostgresServer) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="posthouse-standby-"))
        self.programs = primary.programs
        self._user = primary._user
        if self._user:
            os.chown(self.directory, self._user["user"], self._user["group"])
        data = str(self.directory / "data")
        self._run(
            "pg_basebackup", "-D", data, "-h", str(primary.directory), "-U", "posthouse", "-R", "-cfast"
        )
        names = {str(primary.directory): str(self.directory), str(primary.directory / "data"): data}
        self._command = [names.get(str(word), word) for word in primary._command]
        self.start()

    def catch_up(self, primary: PostgresServer) -> None:
        """Until it has everything that the other has."""
        (position,) = ask(primary, "SELECT CAST(pg_current_wal_lsn() AS TEXT)")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= CAST('{position}' AS pg_lsn)"
        until(lambda: ask(self, replayed)[0], what="the standby")

    def promote(self) -> None:
        assert ask(self, "SELECT pg_promote()") == (True,)


def ask(server: PostgresServer, sql: str) -> tuple[Any, ...]:
    """One row of a server that may allow reading only; commands give an empty one."""
    import psycopg

    options = "-c default_transaction_read_only=off"
    with psycopg.connect(
        f"{server.url}&target_session_attrs=any", autocommit=True, options=options
    ) as connection:
        answer = connection.execute(sql)
        return (answer.fetchone() if answer.description else None) or ()


def test_a_primary_that_comes_back_as_a_standby_is_left_for_the_new_one(
    tmp_path: Path, own: PostgresServer
) -> None:
    url = own.fresh()
    second = Standby(own)
    try:
        url = url.replace(f"host={own.directory}", f"host={own.directory},{second.directory}")
        settings = {"listen": LISTEN, "database": IMPATIENT | {"url": url}}
        with ServeProcess(tmp_path, settings) as server, contextlib.ExitStack() as stack:
            with server.smtp() as client:
                assert accepted(client, "before")
            sessions = Sessions(server, stack)
            # when the standby takes over, and the first, which stands first in the URL, only reads,
            second.catch_up(own)
            own.halt()
            sessions.everybody_is_told_to_come_back()
            second.promote()
            (own.directory / "data" / "standby.signal").touch()
            own.start()
            assert ask(own, "SELECT pg_is_in_recovery()") == (True,)
            # then all go on by themselves, on the new one.
            sessions.all_go_on()
            assert subjects(server) == ["after", "before"]
    finally:
        second.stop()


def test_a_server_that_begins_to_refuse_writing_is_away_and_no_lasting_error(
    tmp_path: Path, own: PostgresServer
) -> None:
    settings = {"listen": LISTEN, "database": IMPATIENT | {"url": own.fresh()}}
    with ServeProcess(tmp_path, settings) as server, server.smtp() as client:
        assert accepted(client, "before")
        # 25006 to whoever writes on a connection that stands
        ask(own, "ALTER SYSTEM SET default_transaction_read_only = on")
        ask(own, "SELECT pg_reload_conf()")
        until(lambda: not accepted(client, "meanwhile"), what="a refusal")
        ask(own, "ALTER SYSTEM RESET default_transaction_read_only")
        ask(own, "SELECT pg_reload_conf()")
        in_the_end(client, "after")
        assert "after" in subjects(server)


# ── the object store ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", [CutProxy.refuse, CutProxy.swallow], ids=["refused", "swallowed"])
def test_while_the_object_store_is_away_large_letters_wait_and_small_ones_do_not(
    tmp_path: Path, how: Callable[[CutProxy], None]
) -> None:
    direct = object_store().url(tmp_path.name)
    host, _, port = direct.partition("endpoint=http://")[2].partition(":")
    with CutProxy((host, int(port))) as proxy, contextlib.ExitStack() as stack:
        blobs = direct.replace(f"{host}:{port}", f"127.0.0.1:{proxy.port}")
        settings = {"listen": LISTEN, "database": IMPATIENT | {"blobs": blobs}}
        server = stack.enter_context(ServeProcess(tmp_path, settings))
        with server.smtp() as client:
            assert accepted(client, "large", 200_000)
            assert accepted(client, "small")
        sessions = Sessions(server, stack)
        how(proxy)
        # when the store is away, then large letters neither come in nor can be read,
        assert not accepted(sessions.smtp, "never", 200_000)
        assert "[UNAVAILABLE]" in refusal(lambda: sessions.imap.fetch("1", "(BODY.PEEK[])"))
        assert "[UNAVAILABLE]" in refusal(
            lambda: sessions.imap.append("INBOX", "", "", letter("never", 200_000))  # type: ignore[arg-type]
        )
        assert "[SYS/TEMP]" in refusal(lambda: sessions.pop3.retr(1))
        # nothing of those stays on the disk,
        assert [file for spool in tmp_path.rglob("spool") for file in spool.iterdir()] == []
        # and all that is small goes on, the header of the large one as well.
        assert accepted(sessions.smtp, "another")
        assert sessions.imap.noop()[0] == "OK"
        assert sessions.imap.fetch("1:3", "(UID BODY.PEEK[HEADER])")[0] == "OK"
        assert sessions.imap.fetch("2:3", "(BODY.PEEK[])")[0] == "OK"
        assert sessions.pop3.retr(2)
        # when it is back, then so is all.
        proxy.heal()
        in_the_end(sessions.smtp, "last", 200_000)
        for number in (1, 4):
            _, found = sessions.imap.fetch(str(number), "(BODY.PEEK[])")
            assert found[0][1].endswith(letter(("large", "last")[number == 4], 200_000))
        assert sessions.pop3.retr(1)
        assert subjects(server) == ["another", "large", "last", "small"]
