"""The commands of POP3: one table, from which dispatch, CAPA and the documentation are made.

A row says in which states the command is allowed, how many arguments it takes, which line of CAPA
announces it and where it is specified. `USER` and `PASS` take the rest of their line as one argument:
a password may hold spaces (RFC 1939 §7), and so may the mailbox that a login name chooses.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class State(Enum):
    """The states of a session (RFC 1939 §3)."""

    AUTHORIZATION = "AUTHORIZATION"
    TRANSACTION = "TRANSACTION"
    UPDATE = "UPDATE"


class Verb(NamedTuple):
    name: str
    states: tuple[State, ...]
    least: int
    """Arguments at least."""
    most: int
    """Arguments at most; `REST_OF_LINE`: one, which is all of the line."""
    capability: str
    """The CAPA tag that announces it; empty for a command of the base protocol."""
    rfc: str


REST_OF_LINE = -1
_BEFORE = (State.AUTHORIZATION,)
_DURING = (State.TRANSACTION,)
_ALWAYS = (State.AUTHORIZATION, State.TRANSACTION)

VERBS = (
    Verb("USER", _BEFORE, 1, REST_OF_LINE, "USER", "RFC 1939 §7"),
    Verb("PASS", _BEFORE, 1, REST_OF_LINE, "USER", "RFC 1939 §7"),
    Verb("AUTH", _BEFORE, 0, 2, "SASL", "RFC 5034 §4"),
    Verb("STLS", _BEFORE, 0, 0, "STLS", "RFC 2595 §4"),
    Verb("UTF8", _BEFORE, 0, 0, "UTF8 USER", "RFC 6856 §2.1"),
    Verb("LANG", _ALWAYS, 0, 1, "LANG", "RFC 6856 §3"),
    Verb("STAT", _DURING, 0, 0, "", "RFC 1939 §5"),
    Verb("LIST", _DURING, 0, 1, "", "RFC 1939 §5"),
    Verb("RETR", _DURING, 1, 1, "", "RFC 1939 §5"),
    Verb("DELE", _DURING, 1, 1, "", "RFC 1939 §5"),
    Verb("NOOP", _DURING, 0, 0, "", "RFC 1939 §5"),
    Verb("RSET", _DURING, 0, 0, "", "RFC 1939 §5"),
    Verb("TOP", _DURING, 2, 2, "TOP", "RFC 1939 §7"),
    Verb("UIDL", _DURING, 0, 1, "UIDL", "RFC 1939 §7"),
    Verb("CAPA", _ALWAYS, 0, 0, "", "RFC 2449 §5"),
    Verb("QUIT", _ALWAYS, 0, 0, "", "RFC 1939 §4, §6"),
)

CAPABILITIES = (
    "RESP-CODES",  # RFC 2449 §6.4
    "AUTH-RESP-CODE",  # RFC 3206 §6
    "PIPELINING",  # RFC 2449 §6.6
    "EXPIRE NEVER",  # RFC 2449 §6.7
    "IMPLEMENTATION Posthouse",  # RFC 2449 §6.9
)
"""What CAPA lists beside the commands."""

BY_NAME = {verb.name: verb for verb in VERBS}
