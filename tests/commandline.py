"""The command line in this process: what `python -m posthouse …` does and says, without a Python to start.

Standard input, output and error are files, as a shell's redirections are.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from posthouse.cli.main import main


def posthouse(
    *arguments: str,
    stdin: bytes = b"",
    directory: Path,
    variables: Mapping[str, str],
) -> subprocess.CompletedProcess[str]:
    """Run a command in `directory`, with these variables added to the environment."""
    with contextlib.ExitStack() as stack:
        given, said, told = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin)
        given.seek(0)
        with _as_a_process_of_its_own(directory, variables), _files(given, said, told):
            code = main(list(arguments))
        texts = []
        for file in (said, told):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(arguments, code, *texts)


@contextlib.contextmanager
def _files(*files: io.BufferedIOBase) -> Iterator[None]:
    """Standard input, output and error, in this order."""
    before = sys.stdin, sys.stdout, sys.stderr
    wrapped = [io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape") for file in files]  # type: ignore[type-var]
    sys.stdin, sys.stdout, sys.stderr = wrapped
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        for one in wrapped:
            one.flush() if one.writable() else None
            one.detach()


@contextlib.contextmanager
def _as_a_process_of_its_own(directory: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """What a command changes of its process does not outlast it."""
    environment, mask = dict(os.environ), os.umask(0o022)
    os.environ.update(variables)
    try:
        with contextlib.chdir(directory):
            yield
    finally:
        os.umask(mask)
        os.environ.clear()
        os.environ.update(environment)
