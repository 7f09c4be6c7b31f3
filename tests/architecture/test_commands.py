"""The command line is whole, and starts quickly."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from posthouse.cli.main import NOUNS, module_of
from tests.architecture.source import SOURCE

HEAVY = ("pydantic", "apsw", "cryptography", "dns", "uvloop", "structlog", "prometheus_client", "asyncio")


@pytest.mark.parametrize("noun", [noun for noun, _ in NOUNS])
def test_every_noun_has_its_file(noun: str) -> None:
    module = importlib.import_module(f"posthouse.cli.{module_of(noun)}")

    assert callable(module.sendmail if noun == "sendmail" else module.app)


def test_every_file_that_offers_a_command_is_listed() -> None:
    offering = {path.stem for path in (SOURCE / "cli").glob("*.py") if "\napp = App(" in path.read_text()}

    assert offering <= {module_of(noun) for noun, _ in NOUNS}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_program_starts_without_what_it_does_not_need(arguments: list[str]) -> None:
    program = f"""
import sys
from posthouse.cli.main import main
code = main({arguments!r})
print("LOADED", *(name for name in {HEAVY!r} if name in sys.modules), sep=",")
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "LOADED"


def test_an_unknown_command_is_a_usage_error_with_a_suggestion(capfd: pytest.CaptureFixture[str]) -> None:
    from posthouse.cli.main import main

    assert main(["chekc"]) == 64
    assert "Did you mean check?" in capfd.readouterr().err


def test_a_wrong_option_is_a_usage_error(capfd: pytest.CaptureFixture[str]) -> None:
    from posthouse.cli.main import main

    assert main(["config", "show", "--nonsense"]) == 64
    assert "--nonsense" in "".join(capfd.readouterr())


def test_a_wrong_configuration_is_told_with_its_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from posthouse.cli.main import main

    file = tmp_path / "posthouse.toml"
    file.write_text("\nworkerz = 1\n")

    assert main(["config", "show", "--config", str(file)]) == 78
    assert f'{file}:2: workerz: there is no such key; did you mean "workers"?' in capfd.readouterr().err


def test_a_command_says_of_itself_what_it_does(capfd: pytest.CaptureFixture[str]) -> None:
    from posthouse.cli.main import main

    assert main(["check", "--help"]) == 0
    assert "78 (EX_CONFIG)" in capfd.readouterr().out


@pytest.mark.parametrize("command", [["send"], ["init"], ["import", "imap"], ["alias", "set"]])
def test_help_shows_no_default_that_is_nothing(command: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    from posthouse.cli.main import main

    assert main([*command, "--help"]) == 0
    shown = capfd.readouterr().out
    assert command[-1] in shown
    assert [
        noise for noise in ('default: ""', "default: False", "default: ()", "--empty-") if noise in shown
    ] == []
