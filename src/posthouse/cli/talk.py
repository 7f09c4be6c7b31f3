"""`posthouse talk`: speak SMTP or LMTP by hand, as one would with telnet, and be told what the replies mean.

On a terminal lines can be edited and called back; otherwise each line of standard input is said once the
reply to the one before has come. A line feed becomes CRLF; --no-crlf sends what is typed. STARTTLS begins
TLS when the server agrees. What follows AUTH is shown nowhere. QUIT ends it, and so does the end of input.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter

from posthouse.cli.conversation import Conversation
from posthouse.cli.dialogue import HandshakeFailed, reason
from posthouse.cli.handshake import Wish, shake_hands
from posthouse.cli.keyboard import Keyboard, Lines
from posthouse.cli.problem import CommandProblem
from posthouse.net.tls import ClientTls
from posthouse.outbound.hop import NextHop, parse_next_hop

app = App(name="talk")

_PORTS = {"none": 25, "starttls": 25, "implicit": 465}
_LMTP_PORT = 24


@app.default
def talk(
    server: str,
    /,
    *,
    tls: Literal["none", "starttls", "implicit"] | None = None,
    lmtp: Annotated[bool, Parameter(negative="")] = False,
    crlf: bool = True,
    verify: Annotated[bool, Parameter(negative="")] = False,
    timeout: float = 60.0,
) -> int:
    """Talk to SERVER: HOST, HOST:PORT, [ADDRESS]:PORT or unix:/path.

    Parameters
    ----------
    server
        The server; port 25 unless given, 465 with --tls implicit, 24 with --lmtp.
    tls
        starttls: say EHLO and STARTTLS first; implicit: TLS from the start, the default for port 465.
    lmtp
        The server speaks LMTP: one reply for each recipient after the letter.
    crlf
        End lines with CRLF. --no-crlf sends what is typed, so that bare line feeds can be tried.
    verify
        Demand a certificate that is valid for the server.
    timeout
        Seconds to wait for a reply.
    """
    if not 0 < timeout <= 3600:
        raise CommandProblem("--timeout is between 0 and 3600 seconds", code=os.EX_USAGE)
    host, connection, implicit = _connect(server, tls, lmtp, timeout)
    wish = Wish(ClientTls(), verify, timeout)
    conversation = Conversation(
        connection,
        lambda plain: shake_hands(plain, host, wish),
        lmtp=lmtp,
        crlf=crlf,
        timeout=timeout,
        echo=not sys.stdin.isatty(),
    )
    try:
        if implicit:
            conversation.secure()
        conversation.hear()
        if tls == "starttls" and not conversation.over:
            hello = "LHLO" if lmtp else "EHLO"
            for line in (f"{hello} {socket.getfqdn()}", "STARTTLS"):
                conversation.say(line.encode(), echo=True)
            if not conversation.encrypted:
                raise CommandProblem("the server does not begin TLS", code=os.EX_PROTOCOL)
        with Keyboard() if sys.stdin.isatty() else Lines(sys.stdin.buffer) as source:
            _converse(conversation, source)
    except HandshakeFailed as error:
        raise CommandProblem(f"TLS handshake failed: {error}", code=os.EX_PROTOCOL) from None
    except BrokenPipeError:  # of our own output
        raise
    except TimeoutError:
        raise CommandProblem(f"no reply within {timeout:g} s", code=os.EX_TEMPFAIL) from None
    except OSError as error:
        raise CommandProblem(f"connection lost: {reason(error)}", code=os.EX_TEMPFAIL) from None
    finally:
        conversation.close()
    return os.EX_OK


def _converse(conversation: Conversation, source: Keyboard | Lines) -> None:
    """Line by line, until one side has had enough."""
    while not conversation.over:
        line = source.next(conversation)
        if line is None:
            conversation.finish()
            return
        conversation.say(line, echo=conversation.echo)


def _connect(server: str, tls: str | None, lmtp: bool, timeout: float) -> tuple[str, socket.socket, bool]:
    """The host's name, a connection, and whether TLS begins at once."""
    try:
        if server.startswith("unix:"):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(timeout)
            connection.connect(server[5:])
            print(f"Connected to {server[5:]}.")
            return "", connection, tls == "implicit"
        hop = _hop(server, _LMTP_PORT if lmtp else _PORTS[tls or "none"])
        connection = socket.create_connection((hop.name, hop.port), timeout)
    except socket.gaierror as error:
        raise CommandProblem(f"{server}: {reason(error)}", code=os.EX_NOHOST) from None
    except (OSError, UnicodeError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise CommandProblem(f"cannot connect to {server}: {why}", code=os.EX_TEMPFAIL) from None
    address, port = connection.getpeername()[:2]
    print(f"Connected to {hop.name} [{address}] port {port}.")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return hop.name, connection, tls == "implicit" or (tls is None and hop.port == 465)


def _hop(server: str, port: int) -> NextHop:
    try:
        return parse_next_hop(server, port)
    except ValueError:
        raise CommandProblem(
            f"{server}: this is no server",
            hint="Write HOST, HOST:PORT, [ADDRESS]:PORT or unix:/path.",
            code=os.EX_USAGE,
        ) from None
