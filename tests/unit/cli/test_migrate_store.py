"""`posthouse migrate-store`: what it says at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthouse.admin.migrate_store import Plan, Store
from posthouse.cli.migrate_store import tell_report
from posthouse.db.transfer import Report

HERE = Store("sqlite:///posthouse.db", "file:blobs")
REPORT = Report({"placement": 3, "account": 1}, 4, 0, 0, 0, 1.0, 0.1)


@pytest.mark.parametrize("password", ["", ":secret"])
def test_the_password_that_is_not_shown_is_spoken_of(
    capsys: pytest.CaptureFixture[str], password: str
) -> None:
    there = Store(f"postgresql://posthouse{password}@db/mail", "s3://mail/")

    tell_report(Plan(HERE, there, Path()), REPORT, json=False)

    said = capsys.readouterr().out
    assert 'url = "postgresql://posthouse@db/mail"' in said
    assert "secret" not in said
    assert ("without its password" in said) == bool(password)
