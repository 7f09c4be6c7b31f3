"""What the pump promises to every protocol, on both event loops."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import weakref
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from posthouse.net import pump as pump_module
from posthouse.net.encryption import Encryption
from posthouse.net.limits import ConnectionLimits, Networks
from posthouse.net.listener import drain
from posthouse.net.session import Stream
from tests.servers import eventually

MB = 1_000_000


def test_a_pipelined_group_is_answered_in_order_and_in_one_write(run: Any, serve: Any) -> None:
    async def scene() -> None:
        async with serve() as served:
            reader, writer = await served.connect()
            assert await reader.readline() == b"ok connected\r\n"
            writes = []
            pump = served.drivers[0].pump
            transport = pump._transport

            class Watched:
                def __getattr__(self, name: str) -> Any:
                    return getattr(transport, name)

                def write(self, data: bytes) -> None:
                    writes.append(data)
                    transport.write(data)

            pump._transport = Watched()
            writer.write(b"a\r\nb\r\nc\r\nQUIT\r\n")
            assert await reader.read() == b"ok a\r\nok b\r\nok c\r\nok QUIT\r\n"
            assert len(writes) == 1
            assert await served.drivers[0].ended == "quit"

    run(scene())


def test_nothing_of_a_session_that_has_ended_waits_for_the_garbage_collector(run: Any, serve: Any) -> None:
    async def session() -> None:
        async with serve() as served:
            # given
            assert await served.talk(b"QUIT\r\n") == b"ok connected\r\nok QUIT\r\n"
            driver = served.drivers.pop()
            await driver.ended
            await served.listener.pumps.emptied()

            # when nobody else knows the session any more
            left = weakref.ref(driver)
            gc.disable()
            try:
                del driver

                # then
                assert left() is None
            finally:
                gc.enable()

    run(session())


def test_lines_may_come_octet_by_octet(run: Any, serve: Any) -> None:
    async def scene() -> None:
        async with serve() as served:
            reader, writer = await served.connect()
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for octet in b"one\r\nQUIT\r\n":
                writer.write(bytes([octet]))
                await asyncio.sleep(0)
            assert await reader.read() == b"ok connected\r\nok one\r\nok QUIT\r\n"

    run(scene())


def test_what_comes_while_a_decision_is_outstanding_waits_for_it(run: Any, serve: Any) -> None:
    async def scene() -> None:
        decision: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        async with serve({b"slow": decision}) as served:
            reader, writer = await served.connect()
            await reader.readline()
            writer.write(b"fast\r\nslow\r\nnext\r\n")
            assert await reader.readline() == b"ok fast\r\n"
            assert served.drivers[0].events == [b"connected", b"fast", b"slow"]
            decision.set_result(b"at last")
            assert await reader.readline() == b"at last\r\n"
            assert await reader.readline() == b"ok next\r\n"

    run(scene())


def test_a_decision_that_is_ready_already_or_a_coroutine_is_taken(run: Any, serve: Any) -> None:
    async def scene() -> None:
        ready: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        ready.set_result(b"was ready")

        async def thinking() -> bytes:
            await asyncio.sleep(0)
            return b"thought"

        async with serve({b"ready": ready, b"think": thinking}) as served:
            answer = await served.talk(b"ready\r\nthink\r\nlast\r\n")
            assert answer == b"ok connected\r\nwas ready\r\nthought\r\nok last\r\n"

    run(scene())


def test_a_client_that_pipelines_much_lets_others_have_their_turn(run: Any, serve: Any) -> None:
    happened: list[str] = []

    def answer() -> bytes:
        if not happened:
            asyncio.get_running_loop().call_soon(happened.append, "another's turn")
        happened.append("answered")
        return b"done"

    async def scene() -> None:
        async with serve({b"work": answer}) as served:
            count = 3 * pump_module.TURN_EVENTS
            said = await served.talk(b"work\r\n" * count)
            assert said == b"ok connected\r\n" + b"done\r\n" * count
            assert happened.index("another's turn") <= pump_module.TURN_EVENTS

    run(scene())


def test_a_client_that_closed_its_side_still_gets_its_answers(run: Any, serve: Any) -> None:
    async def scene() -> None:
        decision: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def slow() -> asyncio.Future[bytes]:
            asyncio.get_running_loop().call_later(0.02, decision.set_result, b"committed")
            return decision

        async with serve({b"slow": slow}) as served:
            assert await served.talk(b"slow\r\nthen\r\n") == b"ok connected\r\ncommitted\r\nok then\r\n"
            assert await served.drivers[0].ended == "eof"

    run(scene())


def test_an_exception_in_a_driver_ends_in_a_goodbye_and_not_in_a_hang(run: Any, serve: Any) -> None:
    async def scene() -> None:
        def broken() -> bytes:
            raise RuntimeError("a defect")

        async def broken_later() -> bytes:
            await asyncio.sleep(0)
            raise RuntimeError("a defect")

        def broken_stream() -> Stream:
            def pieces() -> Any:
                yield b"some\r\n"
                raise RuntimeError("a defect")

            return Stream(pieces())

        answers = {b"now": broken, b"later": broken_later, b"stream": broken_stream}
        async with serve(answers) as served:
            for line in (b"now", b"later", b"stream"):
                answer = await served.talk(line + b"\r\nnever\r\n")
                assert answer.endswith(b"421 failed\r\n")
                assert await served.drivers[-1].ended == "failed"
                assert b"never" not in served.drivers[-1].events
            assert len(served.listener.pumps) == 0

    run(scene())


def test_a_silent_client_is_told_so_and_dropped(run: Any, serve: Any) -> None:
    async def scene() -> None:
        async with serve(timeout=0.05) as served:
            reader, _ = await served.connect()
            assert await reader.read() == b"ok connected\r\n421 timed out\r\n"
            assert await served.drivers[0].ended == "timed out"

    run(scene())


def test_a_deadline_that_becomes_shorter_counts_at_once(run: Any, serve: Any) -> None:
    async def scene() -> None:
        def hurry() -> bytes:
            served.cores[0].timeout = 0.05
            return b"hurry"

        async with serve({b"hurry": hurry}, timeout=60.0) as served:
            reader, writer = await served.connect()
            writer.write(b"hurry\r\n")
            assert await reader.read() == b"ok connected\r\nhurry\r\n421 timed out\r\n"

    run(scene())


def test_a_client_that_floods_while_a_decision_is_outstanding_is_stopped(run: Any, serve: Any) -> None:
    async def scene() -> None:
        decision: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        async with serve({b"slow": decision}) as served:
            reader, writer = await served.connect()
            flood = b"x" * 98 + b"\r\n"
            writer.write(b"slow\r\n" + flood * (8 * MB // 100) + b"QUIT\r\n")
            seen = -1
            while seen != served.cores[0].received:
                seen = served.cores[0].received
                await asyncio.sleep(0.05)
            assert seen < pump_module.HELD_LIMIT + MB
            decision.set_result(b"done")
            answers = await reader.read()
            assert answers.startswith(b"ok connected\r\ndone\r\nok xx")
            assert answers.count(b"\r\n") == 8 * MB // 100 + 3

    run(scene())


def test_a_large_answer_is_made_only_as_fast_as_the_client_takes_it(run: Any, serve: Any) -> None:
    async def scene() -> None:
        made = 0

        def pieces() -> Any:
            nonlocal made
            for _ in range(400):
                made += 1
                yield b"p" * 100_000

        async with serve({b"fetch": lambda: Stream(pieces(), b"fetched")}) as served:
            reader, writer = await served.connect()
            writer.write(b"fetch\r\nafter\r\n")
            await reader.readline()
            await eventually(lambda: made, what="the first piece")
            seen = -1
            while seen != made:
                seen = made
                await asyncio.sleep(0.05)
            assert made < 200
            body = await reader.readexactly(400 * 100_000)
            assert body == b"p" * len(body)
            assert await reader.readline() == b"fetched\r\n"
            assert await reader.readline() == b"ok after\r\n"

    run(scene())


def test_an_asynchronous_stream_is_held_back_by_the_client_too(run: Any, serve: Any) -> None:
    async def scene() -> None:
        made = 0

        async def pieces() -> Any:
            nonlocal made
            for _ in range(400):
                made += 1
                await asyncio.sleep(0)
                yield b"p" * 100_000

        async with serve({b"fetch": lambda: Stream(pieces(), b"fetched")}) as served:
            reader, writer = await served.connect()
            writer.write(b"fetch\r\nafter\r\n")
            await reader.readline()
            await eventually(lambda: made, what="the first piece")
            seen = -1
            while seen != made:
                seen = made
                await asyncio.sleep(0.05)
            assert made < 200
            await reader.readexactly(400 * 100_000)
            assert await reader.readline() == b"fetched\r\n"
            assert await reader.readline() == b"ok after\r\n"

    run(scene())


def test_a_client_that_closed_its_side_gets_large_answers_to_the_last(run: Any, serve: Any) -> None:
    async def scene() -> None:
        large = b"p" * (8 * MB)
        async with serve({b"large": large}) as served:
            reader, writer = await served.connect(limit=1000)
            await reader.readline()
            writer.write(b"large\r\n")
            await served.drivers[0].seen(b"large")
            pump, core = served.drivers[0].pump, served.cores[0]
            assert pump.congested
            before = core.received
            writer.write(b"a\r\nb\r\nc\r\n")
            writer.write_eof()
            while core.received == before or not pump._eof:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            assert await reader.read() == large + b"\r\nok a\r\nok b\r\nok c\r\n"

    run(scene())


def test_after_a_driver_cut_the_connection_it_is_asked_nothing_more(run: Any, serve: Any) -> None:
    async def scene() -> None:
        async with serve({b"cut": lambda: served.drivers[0].pump.abort("policy")}) as served:
            reader, writer = await served.connect()
            await reader.readline()
            writer.write(b"cut\r\nnever\r\n")
            assert await served.drivers[0].ended == "policy"
            assert served.drivers[0].events == [b"connected", b"cut"]

    run(scene())


def test_thousands_of_pipelined_streams_do_not_pile_up(run: Any, serve: Any) -> None:
    async def scene() -> None:
        async with serve({b"r": lambda: Stream([b"one ", b"two\r\n"], b"end")}) as served:
            answer = await served.talk(b"r\r\n" * 5000)
            assert answer == b"ok connected\r\n" + b"one two\r\nend\r\n" * 5000

    run(scene())


def test_a_stream_is_closed_when_its_client_leaves(run: Any, serve: Any) -> None:
    async def scene() -> None:
        closed = asyncio.Event()

        def pieces() -> Any:
            try:
                while True:
                    yield b"p" * 100_000
            finally:
                closed.set()

        async with serve({b"fetch": lambda: Stream(pieces())}) as served:
            reader, writer = await served.connect()
            writer.write(b"fetch\r\n")
            await reader.readexactly(200_000)
            writer.transport.abort()
            await closed.wait()
            assert await served.drivers[0].ended in {"reset", "eof"}

    run(scene())


def test_a_reader_that_stopped_reading_is_cut(run: Any, serve: Any) -> None:
    async def scene() -> None:
        def pieces() -> Any:
            while True:
                yield b"p" * 100_000

        async with serve({b"fetch": lambda: Stream(pieces())}, timeout=0.2) as served:
            reader, writer = await served.connect(limit=1000)
            await reader.readline()
            writer.write(b"fetch\r\n")
            assert await served.drivers[0].ended == "timed out"

    run(scene())


def test_what_is_pushed_in_one_turn_leaves_together_and_between_answers(run: Any, serve: Any) -> None:
    async def scene() -> None:
        async with serve() as served:
            reader, writer = await served.connect()
            await reader.readline()
            pump = served.drivers[0].pump
            pump.push(b"* 1 EXISTS\r\n")
            pump.push(b"* 2 EXISTS\r\n")
            assert await reader.readline() == b"* 1 EXISTS\r\n"
            assert await reader.readline() == b"* 2 EXISTS\r\n"
            writer.write(b"QUIT\r\n")
            assert await reader.read() == b"ok QUIT\r\n"
            pump.push(b"after the end")

    run(scene())


def test_starttls_upgrades_in_place_and_forgets_what_was_said_in_clear(
    run: Any, serve: Any, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with serve(tls=lambda: server_context) as served:
            with socket.create_connection(("127.0.0.1", served.port)) as client:
                client.setblocking(False)
                await loop.sock_sendall(client, b"STARTTLS\r\ninjected\r\n")
                clear = b""
                while b"ok STARTTLS\r\n" not in clear:
                    clear += await loop.sock_recv(client, 4096)
                encryption = Encryption(client_context, server_side=False, server_name="mail.test")
                encryption.start()
                await loop.sock_sendall(client, encryption.take())
                while encryption.handshaking:
                    encryption.receive(await loop.sock_recv(client, 65536))
                    await loop.sock_sendall(client, encryption.take())
                await loop.sock_sendall(client, encryption.send(b"secret\r\nQUIT\r\n"))
                answers = b""
                while not encryption.ended:
                    answers += encryption.receive(await loop.sock_recv(client, 65536))
            assert answers == b"ok secret\r\nok QUIT\r\n"
            assert served.drivers[0].events == [b"connected", b"STARTTLS", b"secret", b"QUIT"]
            assert served.cores[0].tls == served.drivers[0].pump.tls_info
            assert served.cores[0].tls.startswith("TLSv1.3 TLS_")

    run(scene())


def test_implicit_tls_speaks_first_after_the_handshake(
    run: Any, serve: Any, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def scene() -> None:
        big = b"z" * (3 * MB)

        def client() -> bytes:
            with (
                socket.create_connection(("127.0.0.1", served.port)) as plain,
                client_context.wrap_socket(plain, server_hostname="mail.test") as secured,
            ):
                greeting = secured.recv(1000)
                secured.sendall(b"a\r\nbig\r\nQUIT\r\n")
                pieces = [greeting, *iter(lambda: secured.recv(65536), b"")]
            return b"".join(pieces)

        async with serve({b"big": big}, tls=lambda: server_context, implicit_tls=True) as served:
            answers = await asyncio.to_thread(client)
            assert answers == b"ok connected\r\nok a\r\n" + big + b"\r\nok QUIT\r\n"
            assert served.drivers[0].pump.tls_info.startswith("TLSv1.")

    run(scene())


def test_a_client_that_does_not_speak_tls_is_dropped_without_a_session(
    run: Any, serve: Any, server_context: ssl.SSLContext
) -> None:
    async def scene() -> None:
        async with serve(tls=lambda: server_context, implicit_tls=True) as served:
            reader, writer = await served.connect()
            writer.write(b"EHLO in clear\r\n")
            alert = await reader.read()
            assert alert[:1] in {b"", b"\x15"}  # a TLS alert record
            assert served.drivers[0].events == []
            assert len(served.listener.pumps) == 0

    run(scene())


LOOPBACK = Networks([ip_network("127.0.0.0/8")])
V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\x7f\x00\x00\x01\xd4\x31\x00\x19"


@pytest.mark.parametrize("header", [b"PROXY TCP4 192.0.2.1 127.0.0.1 54321 25\r\n", V2])
def test_a_trusted_proxy_tells_who_connects(run: Any, serve: Any, header: bytes) -> None:
    async def scene() -> None:
        async with serve(proxies=LOOPBACK) as served:
            reader, writer = await served.connect()
            for octet in header[:-1]:
                writer.write(bytes([octet]))
                await asyncio.sleep(0)
            writer.write(header[-1:] + b"QUIT\r\n")
            assert await reader.read() == b"ok connected\r\nok QUIT\r\n"
            assert served.drivers[0].pump.peer == ("192.0.2.1", 54321, None)

    run(scene())


def test_the_proxys_client_counts_and_not_the_proxy(run: Any, serve: Any) -> None:
    async def scene() -> None:
        gate = ConnectionLimits(per_client=1)
        async with serve(proxies=LOOPBACK, gate=gate, refusal=b"421 no\r\n") as served:
            kept = []
            for address, expected in (("192.0.2.1", b"ok"), ("192.0.2.2", b"ok"), ("192.0.2.1", b"421 no")):
                reader, writer = await served.connect()
                writer.write(f"PROXY TCP4 {address} 127.0.0.1 1 25\r\n".encode())
                assert (await reader.readline()).startswith(expected)
                kept.append(writer)

    run(scene())


def test_a_proxy_header_comes_before_tls(
    run: Any, serve: Any, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def scene() -> None:
        def client() -> bytes:
            with socket.create_connection(("127.0.0.1", served.port)) as plain:
                plain.sendall(b"PROXY TCP6 2001:db8::1 ::1 1 465\r\n")
                with client_context.wrap_socket(plain, server_hostname="mail.test") as secured:
                    secured.sendall(b"QUIT\r\n")
                    return b"".join(iter(lambda: secured.recv(65536), b""))

        async with serve(proxies=LOOPBACK, tls=lambda: server_context, implicit_tls=True) as served:
            assert await asyncio.to_thread(client) == b"ok connected\r\nok QUIT\r\n"
            assert served.drivers[0].pump.peer.address == "2001:db8::1"

    run(scene())


def test_a_proxy_without_a_header_is_cut_and_a_stranger_with_one_not_believed(run: Any, serve: Any) -> None:
    async def scene() -> None:
        async with serve(proxies=LOOPBACK) as served:
            assert await served.talk(b"EHLO me\r\n") == b""
            assert served.drivers[0].events == []
        async with serve(proxies=Networks([ip_network("192.0.2.0/24")])) as served:
            answer = await served.talk(b"PROXY TCP4 192.0.2.1 127.0.0.1 54321 25\r\n")
            assert answer == b"ok connected\r\nok PROXY TCP4 192.0.2.1 127.0.0.1 54321 25\r\n"
            assert served.drivers[0].pump.peer.address == "127.0.0.1"

    run(scene())


def test_one_connection_too_many_is_told_so(run: Any, serve: Any) -> None:
    async def scene() -> None:
        gate = ConnectionLimits(total=10, per_client=2)
        async with serve(gate=gate, refusal=b"421 4.7.0 Too many connections\r\n") as served:
            first, second = await served.connect(), await served.connect()
            await first[0].readline()
            await second[0].readline()
            third, _ = await served.connect()
            assert await third.read() == b"421 4.7.0 Too many connections\r\n"
            first[1].write(b"QUIT\r\n")
            await first[0].read()
            await served.drivers[0].ended
            again, _ = await served.connect()
            assert await again.readline() == b"ok connected\r\n"

    run(scene())


def test_a_unix_socket_knows_who_is_at_the_other_end(run: Any, serve: Any, tmp_path: Path) -> None:
    async def scene() -> None:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "submission"))
        listening.listen()
        async with serve(socket=listening) as served:
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "submission"))
            await reader.readline()
            peer = served.drivers[0].pump.peer
            assert (peer.address, peer.uid) == ("local", os.getuid())
            writer.close()
            await writer.wait_closed()
        assert (tmp_path / "submission").exists(), "other workers listen on it"

    run(scene())


def test_draining_says_goodbye_to_the_idle_and_waits_for_the_busy(run: Any, serve: Any) -> None:
    async def scene() -> None:
        decision: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        async with serve({b"commit": decision}) as served:
            idle, _ = await served.connect()
            busy, busy_writer = await served.connect()
            await idle.readline()
            await busy.readline()
            busy_writer.write(b"commit\r\n")
            await served.drivers[1].seen(b"commit")
            draining = asyncio.ensure_future(drain([served.listener], 10))
            assert await idle.read() == b"421 shutting down\r\n"
            assert not draining.done()
            decision.set_result(b"250 committed")
            assert await busy.read() == b"250 committed\r\n"
            assert await draining == 0
            assert await served.drivers[0].ended == "shut down"

    run(scene())


def test_what_does_not_end_in_time_is_cut(run: Any, serve: Any) -> None:
    async def scene() -> None:
        decision: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        async with serve({b"commit": decision}) as served:
            reader, writer = await served.connect()
            writer.write(b"commit\r\n")
            await reader.readline()
            await served.drivers[0].seen(b"commit")
            assert await drain([served.listener], 0.05) == 1
            assert await served.drivers[0].ended == "shut down"
            decision.set_result(b"too late")

    run(scene())
