"""What keeps a server from starting: each ends in one line that says why, and the exit code of sysexits.h."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from posthouse.app import program
from posthouse.config import Config, load
from posthouse.db.errors import DatabaseAway
from posthouse.pocket.ca import PocketCa
from tests.servers import HOSTNAME, PATIENCE, database_file, install

Spoil = Callable[[Path, Config], None]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to be copied, whose configuration holds wherever it lies."""
    directory = tmp_path_factory.mktemp("installation")
    file = install(directory, {"listen": {"smtp": ["127.0.0.1:0"]}}, accounts={"alice": None})
    program._prepare(load(file))
    ca = PocketCa(directory / "ca")
    shutil.copy(ca.issue(HOSTNAME).certificate, directory / "data" / "one.pem")
    shutil.copy(ca.issue(HOSTNAME).certificate, directory / "data" / "other.pem")
    return directory


def serve(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "posthouse", "serve", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def with_tls(**files: str) -> Spoil:
    def spoil(file: Path, config: Config) -> None:
        keys = "".join(f'{key} = "{config.data_directory / name}"\n' for key, name in files.items())
        file.write_text(file.read_text() + f"[tls]\n{keys}")

    return spoil


def no_database(file: Path, config: Config) -> None:
    file = database_file(config)
    file.write_bytes(b"This is no database.\n" * 500)
    for beside in file.parent.glob(f"{file.name}-*"):  # the log could restore it
        beside.unlink()


def newer_database(file: Path, config: Config) -> None:
    with closing(apsw.Connection(str(database_file(config)))) as connection:
        connection.execute("INSERT INTO schema_migration VALUES (99999, 'tomorrow', 0)")


def blobs_in_the_way(file: Path, config: Config) -> None:
    shutil.rmtree(config.data_directory / "blobs", ignore_errors=True)
    (config.data_directory / "blobs").touch()


@pytest.mark.parametrize(
    ("spoil", "code", "told"),
    [
        (with_tls(certificate="none.pem"), os.EX_CONFIG, "none.pem: No such file or directory"),
        (with_tls(certificate="one.pem", key="other.pem"), os.EX_CONFIG, "other.pem is not the key of"),
        (no_database, os.EX_DATAERR, "file is not a database"),
        (newer_database, os.EX_CONFIG, "made by a newer Posthouse"),
        (blobs_in_the_way, os.EX_OSERR, "Not a directory"),
    ],
    ids=["certificate", "key", "no database", "newer database", "blobs"],
)
def test_what_cannot_start_says_why_in_one_line(
    installation: Path, tmp_path: Path, spoil: Spoil, code: int, told: str
) -> None:
    shutil.copytree(installation, tmp_path / "s", symlinks=True)
    file = tmp_path / "s" / "posthouse.toml"
    file.write_text(file.read_text().replace(str(installation), str(tmp_path / "s")))
    spoil(file, load(file))

    ended = serve(file)

    assert ended.returncode == code, ended.stderr
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_server_of_the_database_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(
        install(tmp_path, {"database": {"url": "postgresql://posthouse@db.test/mail"}}, accounts=None)
    )
    asked: list[str] = []
    slept: list[float] = []

    def migrate(url: str, directory: Path) -> list[str]:
        asked.append(url)
        if len(asked) < 4:
            raise DatabaseAway("connection refused")
        return []

    monkeypatch.setattr(program, "migrate", migrate)
    monkeypatch.setattr(program.time, "sleep", slept.append)

    # it comes while we wait
    program._migrate(config)
    assert (len(asked), sum(slept)) == (4, 3 * program.DATABASE_PAUSE)

    # it does not come
    asked[:] = []
    slept[:] = []
    monkeypatch.setattr(program, "migrate", lambda url, directory: (_ for _ in ()).throw(DatabaseAway("no")))
    with pytest.raises(DatabaseAway):
        program._migrate(config)
    assert sum(slept) == program.DATABASE_WAIT
