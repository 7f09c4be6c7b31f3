"""An IMAP client that sends octets as they are given, and answers as values that can be compared."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from typing import Any

from tests.servers import PASSWORD, PATIENCE

Value = Any
"""None (NIL), bytes (a string, quoted or literal), `Atom`, or a list of such."""


class Atom(str):
    """What stands in an answer without quotes."""

    __slots__ = ()


@dataclass
class Answer:
    """What a command was answered."""

    condition: str
    """OK, NO or BAD; + where the server wants more; BYE where it hung up."""
    code: str = ""
    """The name of the response code, in upper case."""
    text: str = ""
    untagged: list[list[Value]] = field(default_factory=list)

    def all(self, kind: str, at: int = 0) -> list[list[Value]]:
        """The untagged answers that have this word, in any case, as their `at`th."""
        return [one for one in self.untagged if len(one) > at and str(one[at]).upper() == kind]


_ATOM = re.compile(rb"[^\s()\"{\[\]]+")
_CODE = re.compile(r"\[([^\] ]+)[^\]]*\] ?")


class Client:
    """A session that has logged in. Commands may go out before answers come in: `send`, then `answer`."""

    def __init__(self, port: int, user: str, *, limit: float = PATIENCE) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), limit)
        self._file = self._socket.makefile("rb")
        self._count = 0
        self._waiting: list[bytes] = []
        self._file.readline()
        self.do(b'LOGIN %b "%b"' % (user.encode(), PASSWORD.encode()))

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send(self, command: bytes) -> None:
        """One command, without its tag and the line end at its end; literals stand in it as {n+}."""
        self._count += 1
        tag = b"t%d" % self._count
        self._waiting.append(tag)
        self._socket.sendall(tag + b" " + command + b"\r\n")

    def answer(self) -> Answer:
        """To the first command that has none yet."""
        tag = self._waiting.pop(0).decode()
        untagged: list[list[Value]] = []
        while True:
            line = self._response()
            if line is None or line[0] == "+":
                return Answer("BYE" if line is None else "+", untagged=untagged)
            if line[0] == tag or (line[0] == "*" and line[1:2] == ["BAD"]):
                text = str(line[-1])
                code = _CODE.match(text)
                said = text[code.end() :] if code else text
                return Answer(str(line[1]).upper(), code[1].upper() if code else "", said, untagged)
            if line[0] == "*":
                untagged.append(line[1:])

    def do(self, command: bytes) -> Answer:
        self.send(command)
        return self.answer()

    def _response(self) -> list[Value] | None:
        octets = self._file.readline()
        if not octets:
            return None
        # a line of text is not parsed
        if found := re.match(rb"(\S+) (OK|NO|BAD|BYE|PREAUTH)\b ?(.*)\r\n", octets, re.IGNORECASE):
            return [Atom(found[1].decode()), Atom(found[2].decode().upper()), found[3].decode("latin-1")]
        if octets.startswith(b"+"):
            return [Atom("+"), octets.decode("latin-1")]
        stack: list[list[Value]] = [[]]
        at = 0
        while True:
            at = _skip(octets, at)
            byte = octets[at : at + 1]
            if byte in (b"\r", b"\n", b""):
                assert len(stack) == 1, octets
                return stack[0]
            if byte == b"(":
                stack.append([])
                at += 1
            elif byte == b")":
                inner = stack.pop()
                stack[-1].append(inner)
                at += 1
            elif byte == b'"':
                found = re.compile(rb'"((?:[^"\\\r\n]|\\["\\])*)"').match(octets, at)
                assert found, octets[at : at + 100]
                stack[-1].append(re.sub(rb"\\(.)", rb"\1", found[1]))
                at = found.end()
            elif found := re.compile(rb"~?\{(\d+)\}\r\n").match(octets, at):
                stack[-1].append(self._file.read(int(found[1])))
                octets, at = self._file.readline(), 0
            else:
                at = _atom(octets, at, stack[-1])


def _skip(octets: bytes, at: int) -> int:
    while octets[at : at + 1] == b" ":
        at += 1
    return at


def _atom(octets: bytes, at: int, into: list[Value]) -> int:
    """An atom; one with a section (`BODY[HEADER.FIELDS (To)]<0>`) is one atom."""
    start = at
    while at < len(octets):
        if octets[at : at + 1] == b"[":
            at = octets.index(b"]", at) + 1
        elif found := _ATOM.match(octets, at):
            at = found.end()
        else:
            break
    assert at > start, octets[start : start + 100]
    text = octets[start:at].decode("latin-1")
    into.append(None if text.upper() == "NIL" else Atom(text))
    return at


class Pair:
    """A session with each server, both told the same."""

    def __init__(self, ours: Client, theirs: Client) -> None:
        self.ours = ours
        self.theirs = theirs

    def do(self, command: bytes) -> tuple[Answer, Answer]:
        """Our answer, and Dovecot's."""
        self.ours.send(command)
        self.theirs.send(command)
        return self.ours.answer(), self.theirs.answer()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


def literal(octets: bytes) -> bytes:
    """A literal that waits for no answer (RFC 7888)."""
    return b"{%d+}\r\n%b" % (len(octets), octets)
