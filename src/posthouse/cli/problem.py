"""How a command fails: one line on standard error, a hint, and an exit code of sysexits.h."""

from __future__ import annotations

import os
import sys


class CommandProblem(Exception):
    """The command cannot do what was asked. `code` is one of os.EX_*; `hint` says what to do about it."""

    def __init__(self, message: str, *, hint: str = "", code: int = os.EX_DATAERR) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code


def tell(message: str, hint: str = "") -> None:
    """Print a failure for people."""
    for line in message.splitlines():
        print(f"posthouse: {line}", file=sys.stderr)
    if hint:
        print(f"           {hint}", file=sys.stderr)


def exit_code(error: Exception) -> int | None:
    """Tell of `error` and return its exit code; None, in silence, for what only a defect of ours causes."""
    explained = explain(error)
    if explained is None:
        return None
    code, hint = explained
    tell(str(error), hint)
    return code


def explain(error: Exception) -> tuple[int, str] | None:
    """The exit code for `error`, and what to do about it; None for what only a defect of ours causes."""
    # Imported here because a command that succeeds has no need of them.
    from posthouse.accounts.password import PasswordError
    from posthouse.accounts.problem import AlreadyThere, DirectoryProblem, NoSuchEntry
    from posthouse.config import ConfigError
    from posthouse.db.errors import (
        Damaged,
        DatabaseAway,
        DatabaseError,
        DiskFull,
        NewerDatabase,
        NotPermitted,
        Overloaded,
        StoreElsewhere,
        reason_is_space,
    )
    from posthouse.net.privileges import NoSuchUser
    from posthouse.net.sockets import CannotListen
    from posthouse.net.supervisor import AlreadyRunning
    from posthouse.net.tls import TlsProblem

    hint = getattr(error, "hint", "")
    match error:
        case CommandProblem():
            code = error.code
        case ConfigError():
            hint, code = "docs/configuration.md lists all keys and their defaults.", os.EX_CONFIG
        case NoSuchEntry():
            code = os.EX_NOUSER
        case AlreadyThere():
            code = os.EX_CANTCREAT
        case DirectoryProblem() | PasswordError():
            code = os.EX_DATAERR
        case NotPermitted():
            hint, code = "Give all files in data_directory to its owner: chown -R OWNER DIR.", os.EX_NOPERM
        case Damaged():
            hint, code = "Restore a backup, or correct database.url.", os.EX_DATAERR
        case NewerDatabase() | StoreElsewhere():
            code = os.EX_CONFIG
        case DatabaseAway() | Overloaded() | DiskFull():
            hint, code = "This is temporary; try again later.", os.EX_TEMPFAIL
        case AlreadyRunning() | CannotListen():
            hint, code = "`posthouse check` tells which ports are taken.", os.EX_UNAVAILABLE
        case TlsProblem():
            hint, code = "Correct tls.certificate and tls.key in posthouse.toml.", os.EX_CONFIG
        case NoSuchUser():
            hint, code = "Correct `user` in posthouse.toml.", os.EX_NOUSER
        case DatabaseError():
            code = os.EX_SOFTWARE
        case PermissionError():
            hint, code = (
                "Run the command as root, or as the owner of data_directory and all in it.",
                os.EX_NOPERM,
            )
        case OSError() if reason_is_space(error.errno):
            hint, code = "Make room on the disk of data_directory.", os.EX_TEMPFAIL
        case OSError():
            code = os.EX_OSERR
        case _:
            return None
    return code, hint
