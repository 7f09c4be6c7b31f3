"""The whole program under signals and under load: reload, drain, restart, a second start, and its memory."""

from __future__ import annotations

import contextlib
import shutil
import smtplib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import processes
from posthouse.pocket.ca import PocketCa
from tests.servers import HOSTNAME, ServeProcess, until

MB = 1_000_000
LETTER = b"Subject: a letter\r\n\r\nHello.\r\n"
ALL = {name: ["127.0.0.1:0"] for name in ("smtp", "imap", "imaps")}


def begin(client: smtplib.SMTP, recipient: str = "alice@north.test") -> None:
    """Go up to the middle of a letter."""
    client.ehlo()
    client.mail("x@east.test")
    client.rcpt(recipient)
    assert client.docmd("DATA")[0] == 354
    client.send(LETTER[:20])


def end(client: smtplib.SMTP) -> int:
    """The rest of the letter; the code of the reply."""
    client.send(LETTER[20:] + b".\r\n")
    return client.getreply()[0]


def letters(server: ServeProcess, user: str = "alice") -> int:
    with server.imap(user) as client:
        return int(client.select("INBOX", readonly=True)[1][0] or b"0")


def shown_certificate(server: ServeProcess, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(server.address("imaps")) as plain,
        context.wrap_socket(plain, server_hostname=HOSTNAME) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def test_a_reload_shows_the_new_certificate_and_drops_no_connection(tmp_path: Path) -> None:
    ca = PocketCa(tmp_path / "ca")
    context = ca.client_context()
    file = tmp_path / "certificate.pem"
    shutil.copy(ca.issue(HOSTNAME).certificate, file)
    with ServeProcess(tmp_path / "server", {"listen": ALL, "tls": {"certificate": str(file)}}) as server:
        before = shown_certificate(server, context)
        with contextlib.ExitStack() as stack:
            busy = [stack.enter_context(server.smtp()) for _ in range(6)]
            idle = [stack.enter_context(server.smtp()) for _ in range(6)]
            for client in busy:
                begin(client)
            shutil.copy(ca.issue(HOSTNAME).certificate, file)
            server.reload()
            until(lambda: shown_certificate(server, context) != before, what="the new certificate")
            shown = [shown_certificate(server, context) for _ in range(10)]
            assert [end(client) for client in busy] == [250] * 6
            assert [client.noop()[0] for client in idle] == [250] * 6
        # Both workers have it, as soon as both have read it.
        until(lambda: before not in [shown_certificate(server, context) for _ in range(10)], what="both")
        assert set(shown) - {before}

        file.write_text("no certificate")
        server.reload()
        until(lambda: "cannot reload" in server.log, what="a word about it")
        assert shown_certificate(server, context) != before
        assert letters(server) == 6


def test_a_drain_finishes_the_letter_in_flight_and_says_goodbye_to_the_idle(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as server:
        with (
            contextlib.closing(server.smtp()) as busy,
            contextlib.closing(server.smtp()) as idle,
            socket.create_connection(server.address("imap"), timeout=20) as reader,
            reader.makefile("rb") as said,
        ):
            assert said.readline().startswith(b"* OK")
            begin(busy)
            idle.ehlo()
            assert server.process is not None
            server.process.terminate()
            assert idle.getreply()[0] == 421
            assert said.readline().startswith(b"* BYE")
            assert end(busy) == 250
            assert server.process.wait(15) == 0
        assert not (server.config.data_directory / "run" / "listeners.json").exists()
        server.start()
        assert letters(server) == 1


def test_a_drain_gives_back_what_was_being_sent(tmp_path: Path) -> None:
    """Given a next hop that keeps silent, when the program ends, then the entry waits for anybody."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        relayhost = f"[127.0.0.1]:{silent.getsockname()[1]}"
        with ServeProcess(tmp_path, {"outbound": {"relayhost": relayhost}}) as server:
            with server.smtp() as client:
                client.sendmail("x@east.test", ["carol@south.test"], LETTER)
            connection, _ = silent.accept()
            with connection:
                leased = "SELECT count(*) FROM queue_entry WHERE holder <> 0"
                assert server.rows(leased) == [(1,)]
                assert server.terminate() == 0
                assert server.rows(leased) == [(0,)]
                assert server.rows("SELECT attempts, reason FROM queue_entry") == [
                    (1, "451 4.3.2 The attempt was cut off when this server shut down")
                ]


def test_a_killed_worker_is_replaced_and_the_others_serve_on(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as server:
        assert letters(server) == 0
        until(lambda: len(server.workers()) == 2, what="both workers")
        before = server.workers()
        killed = server.kill_worker(0)

        def replaced() -> set[int]:
            now = set(server.workers())
            return now if len(now) == 2 and killed not in now else set()

        assert set(before) - {killed} < until(replaced, what="a new worker")
        for _ in range(10):
            with server.smtp() as client:
                client.sendmail("x@east.test", ["alice@north.test"], LETTER)
        assert letters(server) == 10


def test_a_second_server_on_the_same_data_refuses_and_harms_nothing(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as server:
        second = server.run("serve")
        assert second.returncode not in (0, None)
        assert "runs already" in second.stderr
        with server.smtp() as client:
            client.sendmail("x@east.test", ["alice@north.test"], LETTER)
        assert letters(server) == 1


@pytest.fixture
def one_worker(tmp_path: Path) -> Iterator[ServeProcess]:
    """A server that has already taken letters, so that what it keeps for good is there."""
    settings = {"workers": 1, "smtp": {"message_size_limit": 60 * MB}}
    with ServeProcess(tmp_path, settings) as server:
        for size in (10, 100_000, 3 * MB):
            with server.smtp() as client:
                client.sendmail(
                    "x@east.test", ["alice@north.test"], LETTER + (b"x" * 60 + b"\r\n") * (size // 62)
                )
        assert letters(server) == 3
        yield server


def test_a_letter_of_50_mb_never_sits_whole_in_memory(one_worker: ServeProcess, engine: str) -> None:
    (worker,) = one_worker.workers()
    line = b"y" * 76 + b"\r\n"
    piece = line * 1000
    Path(f"/proc/{worker}/clear_refs").write_text("5")  # the peak is counted from here
    before = _peak(worker)
    with one_worker.smtp() as client:
        client.ehlo()
        client.mail("x@east.test")
        client.rcpt("alice@north.test")
        assert client.docmd("DATA")[0] == 354
        client.send(LETTER)
        for _ in range(50 * MB // len(piece)):
            client.send(piece)
        client.send(b".\r\n")
        assert client.getreply()[0] == 250
    # To S3 two parts are on their way at once.
    assert _peak(worker) - before < (20 if engine == "sqlite" else 35) * MB
    assert letters(one_worker) == 4


def _peak(pid: int) -> int:
    """The peak of the resident memory of a process, in octets."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def test_1000_idle_connections_cost_little(one_worker: ServeProcess) -> None:
    before = processes.proportional_memory(one_worker.pid)
    with contextlib.ExitStack() as stack:
        files = []
        for number in range(1000):
            listener = "smtp" if number % 2 else "imap"
            client = stack.enter_context(socket.create_connection(one_worker.address(listener), timeout=20))
            files.append(stack.enter_context(client.makefile("rb")))
        for greeting in files:
            assert greeting.readline()[:1] in b"2*"
        grew = processes.proportional_memory(one_worker.pid) - before
        assert grew < 30 * MB
