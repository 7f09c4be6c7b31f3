"""Every dialogue holds, whole, octet by octet and pipelined."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from posthouse.protocol.pop3.server import Maildrop, Refusal, ServerSession
from tests.transcripts.imap_and_pop3 import CUTS, Cut, Player, load, mechanisms_of

FILES = sorted((Path(__file__).parents[2] / "transcripts").glob("pop3_*.txt"))


def decide(text: str, event: Any) -> Maildrop | Refusal | None:
    if text == "none":
        return None
    kind, _, rest = text.partition(" ")
    if kind == "maildrop":
        pairs = [pair.split("=") for pair in rest.split()]
        return Maildrop([int(size) for size, _ in pairs], [uid for _, uid in pairs])
    found = re.fullmatch(r"\[(.*?)\] (.*)", rest)
    assert found is not None, text
    return Refusal(found[2], found[1])


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
    Player(core, load(path), decide).play(cut)
