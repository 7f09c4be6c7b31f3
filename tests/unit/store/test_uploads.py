"""Uploads: contents that were stored before their messages are claimed by them, or go."""

from __future__ import annotations

from typing import Any

import pytest

from posthouse.db import DatabaseAway
from posthouse.mail.ids import EPOCH_MS, first_of
from posthouse.store import uploads
from posthouse.store.content import New

MONDAY = EPOCH_MS / 1000 + 1_000_000.0
TUESDAY = MONDAY + 25 * 3600


def upload(store: Any, when: float = MONDAY, number: int = 3) -> int:
    """An upload of that moment, of so many contents."""
    first = first_of(when)
    return uploads.put(store.tx, [New(id, b"A: b\r\n\r\n", b"x", 9) for id in range(first, first + number)])


def left(store: Any) -> tuple[int, int, int]:
    """Uploads, contents and bodies."""
    uploads, contents, bodies = (
        store.number(f"SELECT count(*) FROM {table}") for table in ("upload", "content", "content_body")
    )
    return uploads, contents, bodies


def test_what_is_claimed_stays(store: Any) -> None:
    ids = [upload(store, MONDAY + n) for n in range(5)]
    uploads.claim(store.tx, ids)
    uploads.abandon(store.tx, store.contents, ids)
    assert not uploads.sweep(store.tx, store.contents, TUESDAY)
    assert left(store) == (0, 15, 15)


def test_what_is_abandoned_goes_with_its_contents(store: Any) -> None:
    ids = [upload(store, MONDAY + n) for n in range(5)]
    uploads.abandon(store.tx, store.contents, ids[1:])
    assert left(store) == (1, 3, 3)


def test_what_everybody_has_forgotten_goes_after_a_day(store: Any) -> None:
    # given some of Monday and one of Tuesday
    for n in range(uploads.BATCH + 2):
        upload(store, MONDAY + n)
    late = upload(store, TUESDAY)
    # when it is swept on Monday, then all stay
    assert not uploads.sweep(store.tx, store.contents, MONDAY + 3600)
    # when it is swept on Tuesday, a batch at a time
    while uploads.sweep(store.tx, store.contents, TUESDAY + 60):
        pass
    # then Tuesday's alone is there
    assert left(store) == (1, 3, 3)
    uploads.claim(store.tx, [late])


def test_what_has_gone_cannot_be_claimed(store: Any) -> None:
    forgotten, other = upload(store), upload(store, TUESDAY)
    while uploads.sweep(store.tx, store.contents, TUESDAY):
        pass
    with pytest.raises(DatabaseAway):
        uploads.claim(store.tx, [other, forgotten])
