"""Every dialogue holds, whole, octet by octet and pipelined."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from posthouse.protocol.imap.commands import Return
from posthouse.protocol.imap.notifying import Event
from posthouse.protocol.imap.server import Result, ServerSession
from tests.transcripts.apart import Apart
from tests.transcripts.imap_and_pop3 import CUTS, Cut, Player, load, mechanisms_of

FILES = sorted((Path(__file__).parents[2] / "transcripts").glob("imap_*.txt"))


def announced() -> dict[str, str]:
    """What stands for $CAPABILITIES and $LOGGEDIN."""
    lines = (FILES[0].parent / "capabilities.txt").read_text("utf-8").splitlines()
    names = [line for line in lines if not line.startswith("#")]
    return {
        "$CAPABILITIES": " ".join(name for name in names if not name.startswith("login: ")),
        "$LOGGEDIN": " ".join(name.removeprefix("login: ") for name in names if name.startswith("login: ")),
    }


def events() -> dict[str, str]:
    """Sets of events and return options, whose order is that of a set."""
    new = frozenset({Event.NEW, Event.EXPUNGE})
    return {
        "$ALL": repr(new | {Event.FLAGS}),
        "$NAMES": repr(frozenset({Event.NAME, Event.SUBSCRIPTION})),
        "$NEW": repr(new),
        "$NOTES": repr(frozenset({Event.MAILBOX_METADATA, Event.SERVER_METADATA})),
        "$UPDATED": repr(frozenset({Return.COUNT, Return.UPDATE})),
        "$CONTEXT": repr(frozenset({Return.ALL, Return.CONTEXT})),
    }


def decide(text: str, event: Any) -> Result | None:
    if text == "none":
        return None
    found = re.fullmatch(r"(OK|NO|BAD|BYE) (?:\[([^]]+)\] )?(.*)", text)
    assert found is not None, text
    return Result(found[1], found[3], found[2] or "")


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.__name__)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dialogue(path: Path, cut: Cut) -> None:
    first = path.read_text("utf-8").partition("\n")[0]
    core = ServerSession(
        "mail.example.org",
        tls_available="@tls" in first,
        plaintext_login="@strange" not in first,
        mechanisms=mechanisms_of(first),
    )
    if "@loggedin" in first:
        core.next_event()
        core.answer(None)
        core.receive(b"x LOGIN a b\r\n")
        core.next_event()
        core.answer(Result("OK", "Welcome"))
        core.take_output()
    lines = load(path)
    for name, meaning in {**announced(), **events()}.items():
        lines = [line._replace(text=line.text.replace(name, meaning)) for line in lines]
    if cut.__name__ == "octet_by_octet":
        lines = split_literals(lines)
    Player(Apart(core), lines, decide).play(cut)


def split_literals(lines: list[Any]) -> list[Any]:
    """Octet by octet each octet of a message is an event of its own, answered alike."""
    out: list[Any] = []
    for line in lines:
        found = re.fullmatch(r"Literal\(octets=(b'.*')\)", line.text) if line.kind == "E:" else None
        if found is None:
            out.append(line)
            continue
        message = eval(found[1])  # a bytes literal of our own file
        pieces = [message[index : index + 1] for index in range(len(message))]
        out += [line._replace(text=f"Literal(octets={piece!r})") for piece in pieces]
        out += [line._replace(kind="A:", text="none")] * (len(pieces) - 1)
    return out
