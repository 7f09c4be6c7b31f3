"""Plays a dialogue file against a server core, however the client's octets are cut.

Each line of a dialogue begins with what it is:

    C: octets of the client, with CRLF          C| the same, without the CRLF
    S: a line that the server must send          E: repr() of the event that the core must hand out
    A: OK [CODE] text | none | …                 the answer to that event; `keys`, for SCRAM; or
                                                 `explain {…} then …`, for a token that is refused
    T: TLS                                       the handshake happens now; TLS bob: bob@example.org has
                                                 shown his certificate, and the connection can be bound to
    F: ended                                     the core must want to close the connection
    # a comment

A dialogue is played three times: as it stands, octet by octet, and pipelined: everything up to the
next `T:` at once. What the core says and hands out must be the same each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from posthouse.protocol import sasl

Cut = Callable[[bytes], Iterator[bytes]]


class Line(NamedTuple):
    kind: str
    text: str


def load(path: Path) -> list[Line]:
    lines = []
    for number, raw in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not raw.strip() or raw.startswith("#"):
            continue
        assert raw[:2] in ("C:", "C|", "S:", "E:", "A:", "T:", "F:"), f"{path.name}:{number}: {raw}"
        lines.append(Line(raw[:2], raw[3:]))
    return lines


def octets(line: Line) -> bytes:
    text = line.text.encode("utf-8").replace(b"\\0", b"\0")
    return text if line.kind == "C|" else text + b"\r\n"


def mechanisms_of(first: str) -> tuple[str, ...]:
    """What a session is to offer, by the first line of its dialogue: PLAIN and LOGIN, or `@mechanisms`."""
    found = re.search(r"@mechanisms=(\S+)", first)
    return tuple(found[1].split(",")) if found else sasl.USUAL


def channel_of(handshake: str) -> sasl.Channel:
    if not handshake.endswith(" bob"):
        return sasl.PRIVATE
    binding = {"tls-server-end-point": b"certificate"}.get
    return sasl.Channel(True, binding, binds=True, addresses=("bob@example.org",))


def explained(text: str) -> tuple[str, bytes | None]:
    """The text of an answer, and the challenge that goes before it (`explain {…} then …`)."""
    found = re.fullmatch(r"explain (\{.*\}) then (.*)", text)
    return (found[2], found[1].encode()) if found else (text, None)


def _sorted(event: str) -> str:
    """The repr() of an event, with what is in its sets in the same order whatever their hashes."""
    return re.sub(r"(?<=frozenset\({)[^}]+", lambda found: ", ".join(sorted(found[0].split(", "))), event)


class Player:
    """One run of one dialogue. `decide` turns the text of an `A:` line into the decision it means."""

    def __init__(self, core: Any, lines: list[Line], decide: Callable[[str, Any], Any]) -> None:
        self.core = core
        self.decide = decide
        self.events = [line.text for line in lines if line.kind == "E:"]
        self.answers = [line.text for line in lines if line.kind == "A:"]
        self.expected = b"".join(line.text.encode() + b"\r\n" for line in lines if line.kind == "S:")
        self.said = b""
        self.lines = lines

    def turn(self) -> None:
        while (event := self.core.next_event()) is not None:
            self.said += self.core.take_output()
            assert self.events, f"unexpected event {event!r}"
            assert _sorted(repr(event)) == _sorted(self.events.pop(0))
            answer = self.answers.pop(0)
            self.core.answer(self._decision(answer, event))
        self.said += self.core.take_output()
        assert self.expected.startswith(self.said), f"said {self.said!r}, expected {self.expected!r}"

    def _decision(self, text: str, event: Any) -> Any:
        if text == "keys":  # of the password `pencil`
            salt = b"salt of the sea"
            return sasl.Keys(salt, 4096, *sasl.make_keys(b"pencil", salt, 4096, "sha256"), 7, "nonce")
        text, challenge = explained(text)
        decision = self.decide(text, event)
        return decision if challenge is None else sasl.Refused(challenge, decision)

    def play(self, cut: Cut) -> None:
        self.turn()
        held = b""
        for line in [*self.lines, Line("T:", "")]:
            if line.kind in ("C:", "C|"):
                held += octets(line)
            elif held and (line.kind == "T:" or cut is not pipelined):
                for piece in cut(held):
                    self.core.receive(piece)
                    self.turn()
                held = b""
            if line.kind == "T:" and line.text:
                assert self.core.wants_tls
                self.core.tls_started(line.text, channel_of(line.text))
                self.turn()
        assert self.said == self.expected
        assert not self.events
        ended = any(line.kind == "F:" for line in self.lines)
        assert self.core.closing == ended


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def pipelined(data: bytes) -> Iterator[bytes]:
    yield data


def octet_by_octet(data: bytes) -> Iterator[bytes]:
    for index in range(len(data)):
        yield data[index : index + 1]


CUTS: tuple[Cut, ...] = (whole, octet_by_octet, pipelined)
