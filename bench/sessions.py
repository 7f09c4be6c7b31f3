"""What many sessions cost: pushes to who idles, memory. Logins are in `bench.logins`."""

from __future__ import annotations

import contextlib
import smtplib
import threading
import time
from statistics import median
from typing import Protocol

from bench.peers import RECIPIENT
from bench.processes import proportional_memory
from bench.wire import Imap

PUSHES = 30
IDLE_SESSIONS = 1000


class Delivering(Protocol):
    delivery: str
    delivery_port: int
    imap_port: int

    def pid(self) -> int: ...


def push_delay(server: Delivering) -> float:
    """Milliseconds from the reply to the end of data to EXISTS at a session that idles; the median."""
    delays = []
    with Imap(server.imap_port) as session, Sender(server) as sender:
        session.login(RECIPIENT)
        session.command("SELECT INBOX")
        for _ in range(PUSHES):
            with session.idling():
                told: list[float] = []
                listener = threading.Thread(target=_listen, args=(session, told))
                listener.start()
                time.sleep(0.05)
                accepted = sender.send()
                listener.join()
                delays.append((told[0] - accepted) * 1e3)
    return median(delays)


def _listen(session: Imap, told: list[float]) -> None:
    session.until(b" EXISTS\r\n")
    told.append(time.perf_counter())


class Sender:
    """One session of SMTP or LMTP."""

    def __init__(self, server: Delivering) -> None:
        self._client = (
            smtplib.LMTP("127.0.0.1", server.delivery_port)
            if server.delivery == "LMTP"
            else smtplib.SMTP("127.0.0.1", server.delivery_port)
        )
        self._client.ehlo("client.bench.test")

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.quit()

    def send(self) -> float:
        """Send a short letter; the moment at which its 250 was here."""
        client = self._client
        client.mail("sender@client.bench.test")
        client.rcpt(RECIPIENT)
        client.docmd("DATA")
        client.send(b"Subject: news\r\n\r\nSomething has happened.\r\n.\r\n")
        code, text = client.getreply()
        accepted = time.perf_counter()
        if code != 250:
            raise RuntimeError(f"the letter was refused: {code} {text!r}")
        return accepted


def idle_memory(server: Delivering) -> int:
    """PSS of the server with `IDLE_SESSIONS` sessions that idle on INBOX, in octets."""
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE_SESSIONS):
            session = stack.enter_context(Imap(server.imap_port))
            session.login(RECIPIENT)
            session.command("SELECT INBOX")
            stack.enter_context(session.idling())
        return proportional_memory(server.pid())
