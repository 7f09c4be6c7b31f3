"""Every command finds its configuration in the same way, and never works on the data as root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from posthouse.cli.context import VARIABLE, find_config, open_context, require_readable_program
from posthouse.cli.main import main
from posthouse.cli.problem import CommandProblem


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("posthouse.cli.context.PLACES", (Path("posthouse.toml"),))


def test_the_option_comes_before_the_variable_before_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandProblem, match=r"there is no posthouse\.toml"):
        find_config(None)

    (tmp_path / "posthouse.toml").touch()
    assert find_config(None) == Path("posthouse.toml")

    monkeypatch.setenv(VARIABLE, "/srv/posthouse.toml")
    assert find_config(None) == Path("/srv/posthouse.toml")

    assert find_config(Path("mine.toml")) == Path("mine.toml")


@pytest.mark.parametrize("noun", [["domain", "list"], ["check"], ["config", "show"]])
def test_commands_take_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], noun: list[str]
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none.toml"))

    assert main(noun) == os.EX_CONFIG
    assert "none.toml" in "".join(capfd.readouterr())


def in_a_child(work) -> int:
    """The exit code of `work` in a process of its own, which may give up root."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")
def test_root_becomes_the_owner_of_the_data_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.cli.context.require_readable_program", lambda: None)
    (tmp_path / "posthouse.toml").touch()
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", 1234, 1235)

    def work() -> int:
        open_context(None)
        assert (os.getuid(), os.geteuid(), os.getgid(), os.getgroups()) == (1234, 1234, 1235, [])
        with pytest.raises(PermissionError):
            os.seteuid(0)
        return 7

    assert in_a_child(work) == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="root can read everything, others are root's guests")
def test_a_program_that_the_owner_cannot_read_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "posthouse.py"
    hidden.touch(mode=0o600)
    monkeypatch.setattr("posthouse.__file__", str(hidden))

    def work() -> int:
        require_readable_program()
        os.seteuid(1234)
        with pytest.raises(CommandProblem, match="cannot read the program"):
            require_readable_program()
        return 7

    assert in_a_child(work) == 7


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("user = 'nobody-has-this-name'", os.EX_NOUSER, "there is no user nobody-has-this-name"),
        ("data_directory = 'gone'", os.EX_CONFIG, "gone does not exist"),
    ],
)
def test_an_owner_that_is_not_there_is_told_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, code: int, told: str
) -> None:
    (tmp_path / "posthouse.toml").write_text(text)

    assert main(["domain", "list"]) == code
    assert told in capfd.readouterr().err
