"""What goes wrong with mail elsewhere is told with the exit code that it has in sysexits.h."""

from __future__ import annotations

import errno
import os

import pytest

from posthouse.admin.exchange.folders import LoginRefused, NoSuchForm, SourceMissing, SourceProblem
from posthouse.cli.mailtransfer import problems
from posthouse.cli.problem import CommandProblem


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceMissing("there is no /x"), os.EX_NOINPUT),
        (NoSuchForm("/x is no Maildir"), os.EX_DATAERR),
        (LoginRefused("cannot log in"), os.EX_NOPERM),
        (SourceProblem("the connection broke"), os.EX_UNAVAILABLE),
    ],
)
def test_each_trouble_has_its_exit_code(error: Exception, code: int) -> None:
    with pytest.raises(CommandProblem, match=str(error)) as raised, problems():
        raise error
    assert raised.value.code == code


def test_a_file_that_must_not_be_read_is_named_with_who_wants_to_read_it() -> None:
    with pytest.raises(CommandProblem, match="/var/mail/alice: Permission denied") as raised, problems():
        raise PermissionError(errno.EACCES, "Permission denied", "/var/mail/alice")
    assert raised.value.code == os.EX_NOPERM
    assert str(os.geteuid()) in raised.value.hint
