"""Dialogues as files: said line by line, all at once, and octet by octet, they get the same answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transcripts import smtp

FILES = sorted(smtp.FOLDER.glob("smtp_*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dialogue(path: Path) -> None:
    # given
    transcript = smtp.read(path)
    desk = smtp.open_desk(transcript.options)
    # when, then: each turn gets its answer
    for turn in transcript.turns:
        if turn.said:
            desk.session.receive(turn.said)
        assert desk.answer().decode() == turn.answer, turn.said
    # when, then: so it does in one piece, and in pieces of one octet
    whole = smtp.play(transcript, iter([transcript.said]))
    assert whole[0] == transcript.answer
    octets = (transcript.said[place : place + 1] for place in range(len(transcript.said)))
    assert smtp.play(transcript, octets) == whole
