"""`posthouse init`: from nothing to the first login, and never over what is there."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from posthouse.cli.main import main
from posthouse.config import load

ARGUMENTS = ["--hostname", "mail.example.org", "--domain", "example.org"]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch):
    """Make `text` standard input, which is not a terminal."""

    def type_(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    type_("")
    return type_


def test_a_new_installation_has_a_domain_and_its_administrator(
    tmp_path: Path, typed, capfd: pytest.CaptureFixture[str]
) -> None:
    typed("a long and winding password\nnot this\n")

    assert main(["init", str(tmp_path / "new"), *ARGUMENTS, "--password-stdin"]) == 0

    file = tmp_path / "new" / "posthouse.toml"
    assert load(file).hostname == "mail.example.org"
    capfd.readouterr()
    assert main(["account", "show", "postmaster@example.org", "--config", str(file)]) == 0
    assert "postmaster@example.org" in capfd.readouterr().out


def test_nobody_but_the_owner_can_read_the_data(tmp_path: Path, typed) -> None:
    assert main(["init", str(tmp_path), *ARGUMENTS]) == 0

    data = tmp_path / "data"
    assert stat.S_IMODE(data.stat().st_mode) == 0o711
    assert [path.name for path in data.iterdir() if path.is_file() and path.stat().st_mode & 0o077] == []


def test_a_password_is_made_up_and_shown_where_nobody_can_be_asked(
    tmp_path: Path, typed, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path), *ARGUMENTS]) == 0

    shown = [line for line in capfd.readouterr().out.splitlines() if line.startswith("Its password")]
    assert len(shown) == 1
    assert len(shown[0].rpartition(" ")[2]) == 20


def test_a_weak_password_is_warned_of_and_taken(
    tmp_path: Path, typed, capfd: pytest.CaptureFixture[str]
) -> None:
    typed("secret\n")

    assert main(["init", str(tmp_path), *ARGUMENTS, "--password-stdin"]) == 0

    assert "warning" in capfd.readouterr().err
    assert (tmp_path / "posthouse.toml").exists()


def test_a_posthouse_toml_is_never_overwritten(
    tmp_path: Path, typed, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "posthouse.toml"
    file.write_text("# mine\n")

    assert main(["init", str(tmp_path), *ARGUMENTS]) == os.EX_CANTCREAT

    assert file.read_text() == "# mine\n"
    assert os.listdir(tmp_path) == ["posthouse.toml"]
    assert "exists already" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--domain", "example.org"], os.EX_USAGE),
        (["--hostname", "not a name", "--domain", "example.org"], os.EX_USAGE),
        ([*ARGUMENTS, "--password-stdin"], os.EX_NOINPUT),
        ([*ARGUMENTS, "--user", "nobody-has-this-name"], os.EX_NOUSER),
        ([*ARGUMENTS, "--admin", "not an address"], os.EX_DATAERR),
    ],
)
def test_what_is_wrong_leaves_no_posthouse_toml(
    tmp_path: Path, typed, arguments: list[str], code: int
) -> None:
    assert main(["init", str(tmp_path), *arguments]) == code

    assert not (tmp_path / "posthouse.toml").exists()


def test_it_can_be_said_again_after_a_mistake(tmp_path: Path, typed) -> None:
    assert main(["init", str(tmp_path), *ARGUMENTS, "--admin", "not an address"]) == os.EX_DATAERR

    assert main(["init", str(tmp_path), *ARGUMENTS]) == 0
