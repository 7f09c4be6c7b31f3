"""Listings: whole for programs, safe for terminals."""

from __future__ import annotations

import json

import pytest

from posthouse.cli.listing import print_listing, print_record

ROWS = [
    {"id": "a1", "size": 5, "is_held": True, "to": ("x", "y")},
    {"id": "b", "size": None, "is_held": False, "to": ()},
]


def test_json_keeps_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(ROWS, json=True)

    assert json.loads(capsys.readouterr().out) == [ROWS[0] | {"to": ["x", "y"]}, ROWS[1] | {"to": []}]


def test_people_get_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(ROWS, json=False)

    assert capsys.readouterr().out.splitlines() == [
        "id  size  is held  to",
        "a1  5     yes      x, y",
        "b         no",
    ]


def test_nothing_is_said_in_words_or_as_an_empty_array(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing([], json=False, empty="The queue is empty.")
    print_listing([], json=True)

    assert capsys.readouterr().out == "The queue is empty.\n[]\n"


def test_what_strangers_sent_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_record({"sender": "\x1b]0;owned\x07a\r\nb\u202ec"}, json=False)

    assert capsys.readouterr().out == "sender  �]0;owned�a��b�c\n"
