"""What goes wrong with a server, as values: a script for `posthouse.pocket.peer`.

    peer.script(Answer(Step.RCPT, "451 4.7.1 Greylisted", times=2), Drop(Step.END_OF_DATA, times=1))

A fault strikes at its step, before the usual reply, as often as `times` says (None: always). The first
that fits and is not used up counts. After a reply has been sent (GREETED, ACCEPTED) only `Drop` and
`Break` can still go wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class Step(Enum):
    """Where in a session a fault strikes."""

    CONNECT = "the client has connected; no greeting yet"
    GREETED = "the greeting has been sent"
    HELO = "EHLO, HELO or LHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH, with credentials"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA or the first BDAT"
    CONTENT = "the first octets of the letter"
    END_OF_DATA = "the letter is complete and kept, the reply not yet sent"
    ACCEPTED = "the reply to the letter has been sent"
    QUIT = "QUIT"


@dataclass(slots=True)
class Answer:
    """Another reply than the usual: `450 4.7.1 Not now`. `recipient` limits it to one forward-path."""

    step: Step
    reply: str
    times: int | None = None
    recipient: str = ""


@dataclass(slots=True)
class Drop:
    """Close the connection in good order (FIN)."""

    step: Step
    times: int | None = None


@dataclass(slots=True)
class Break:
    """Break the connection (RST)."""

    step: Step
    times: int | None = None


@dataclass(slots=True)
class Hang:
    """Keep silent, for `seconds` (None: until the client gives up)."""

    step: Step
    seconds: float | None = None
    times: int | None = None


Fault: TypeAlias = Answer | Drop | Break | Hang


class BadTls(Enum):
    """What is wrong with a server's TLS."""

    EXPIRED = "its certificate was valid until yesterday"
    WRONG_NAME = "its certificate is for another host"
    STRANGE = "its certificate is signed by nobody we know"
    NO_HANDSHAKE = "it says 220 to STARTTLS and then talks nonsense"


def greylisting(times: int = 1, reply: str = "451 4.7.1 Greylisted, try again later") -> Answer:
    """Refuse the first `times` recipients for now."""
    return Answer(Step.RCPT, reply, times)
