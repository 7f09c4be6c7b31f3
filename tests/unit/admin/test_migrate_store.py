"""What an administrator means by the options of migrate-store, and what is shown of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthouse.admin.migrate_store import Store, plan, without_password
from posthouse.db.transfer import TransferProblem

OWN = Store("sqlite:///posthouse.db", "file:blobs")
THERE = "postgresql://mail:secret@db.test/mail"
HERE = Path("/nowhere")


def test_the_side_that_is_not_named_is_the_installation() -> None:
    away = plan(OWN, HERE, target=THERE, target_blobs="s3://mail/")
    back = plan(OWN, HERE, source=THERE, source_blobs="s3://mail/")

    assert (away.source, away.target) == (OWN, Store(THERE, "s3://mail/"))
    assert (back.source, back.target) == (Store(THERE, "s3://mail/"), OWN)
    assert away.moves_objects
    assert back.moves_objects


def test_objects_stay_where_they_are_unless_a_place_is_named() -> None:
    assert not plan(OWN, HERE, target=THERE).moves_objects


def test_one_database_cannot_be_both_sides() -> None:
    with pytest.raises(TransferProblem, match="--to or --from"):
        plan(OWN, HERE)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (THERE, "postgresql://mail@db.test/mail"),
        (
            "postgresql://db.test/mail?user=x&password=secret&sslmode=require",
            "postgresql://db.test/mail?user=x&sslmode=require",
        ),
        ("postgresql:///mail?host=/run", "postgresql:///mail?host=/run"),
        (OWN.url, OWN.url),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown
