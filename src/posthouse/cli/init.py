"""`posthouse init`: a new installation, from nothing to the first login."""

from __future__ import annotations

import asyncio
import getpass
import os
import pwd
import secrets
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from posthouse.accounts.password import prepare, weakness
from posthouse.admin.setup import initialise
from posthouse.cli.context import require_readable_program
from posthouse.cli.problem import CommandProblem
from posthouse.config import Config, default_toml, from_mapping
from posthouse.config.kinds import read_hostname
from posthouse.net.privileges import acting_as

app = App(name="init")


@app.default
def init(
    directory: Path,
    /,
    *,
    hostname: str = "",
    domain: str = "",
    admin: str = "",
    password_stdin: Annotated[bool, Parameter(negative="")] = False,
    user: str = "",
) -> None:
    """Make posthouse.toml, the database, the first domain and its administrator in DIRECTORY.

    Asks for what is missing, but only on a terminal. Never overwrites a posthouse.toml.

    Parameters
    ----------
    directory
        Where; it is made if need be.
    hostname
        The name of this server, as other servers know it.
    domain
        The first domain whose mail is ours.
    admin
        The administrator's address: postmaster@DOMAIN unless given. It is also the login name.
    password_stdin
        Read the administrator's password from one line of standard input.
    user
        The user that the data belongs to and the server runs as (only root can choose).
    """
    file = directory / "posthouse.toml"
    if file.exists():
        raise CommandProblem(
            f"{file} exists already, and is not overwritten",
            hint="Choose another directory, or remove the file if you mean to begin anew.",
            code=os.EX_CANTCREAT,
        )
    hostname = _name("hostname", hostname, "Name of this server, such as mail.example.org: ")
    domain = _name("domain", domain, "First domain, such as example.org: ")
    admin = admin or f"postmaster@{domain}"
    password, generated = _password(password_stdin)
    prepare(password)
    uid, gid = _owner(user)

    text = default_toml(hostname)
    directory.mkdir(parents=True, exist_ok=True)
    config = from_mapping(tomllib.loads(text), directory.absolute())
    # Others may pass through to the submission socket in run/, but see nothing else.
    config.data_directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    os.chmod(config.data_directory, 0o711)
    os.chown(config.data_directory, uid, gid)
    with acting_as(uid, gid):
        require_readable_program()
        asyncio.run(initialise(config, domain, admin, password))
    with file.open("x", encoding="utf-8") as out:
        out.write(text)
    _say_what_is_next(file, config, domain, admin, password if generated else "")
    if not generated and (weak := weakness(password, admin)):
        print(f"posthouse: warning: {weak}", file=sys.stderr)
    if uid == 0:
        print("posthouse: warning: the data is root's, so the server would run as root;", file=sys.stderr)
        print(
            f"           make a user for it and run `chown -R USER {config.data_directory}`", file=sys.stderr
        )


def _name(what: str, given: str, question: str) -> str:
    """`given` or asked for, as a host name; asks again on a terminal until it is one."""
    if given or not sys.stdin.isatty():
        if not given:
            raise CommandProblem(f"--{what} is missing", code=os.EX_USAGE)
        try:
            return read_hostname(given)
        except ValueError as error:
            raise CommandProblem(f"--{what} {given}: {error}", code=os.EX_USAGE) from None
    while True:
        try:
            return read_hostname(input(question))
        except ValueError as error:
            print(error)


def _password(from_stdin: bool) -> tuple[str, bool]:
    """The administrator's password, and whether we made it up because nobody could be asked."""
    if from_stdin:
        line = sys.stdin.readline()
        if not line:
            raise CommandProblem("standard input holds no password", code=os.EX_NOINPUT)
        return line.rstrip("\r\n"), False
    if not sys.stdin.isatty():
        return secrets.token_urlsafe(15), True
    return _ask_twice(getpass.getpass), False


def _ask_twice(ask: Callable[[str], str]) -> str:
    while True:
        password = ask("Password of the administrator: ")
        if password == ask("Once more: "):
            return password
        print("These are not the same.")


def _owner(user: str) -> tuple[int, int]:
    if not user:
        return os.geteuid(), os.getegid()
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise CommandProblem(f"there is no user {user} on this machine", code=os.EX_NOUSER) from None
    if os.geteuid() not in (0, entry.pw_uid):
        raise CommandProblem("only root can make an installation for another user", code=os.EX_NOPERM)
    return entry.pw_uid, entry.pw_gid


def _say_what_is_next(file: Path, config: Config, domain: str, admin: str, password: str) -> None:
    print(f"Made {file}, and the account {admin}.")
    if password:
        print(f"Its password, which is shown only now: {password}")
    print(f"""
Next:
  1. DNS, where {domain} is kept:
       {domain}.  MX 10 {config.hostname}.
       {config.hostname}.  A (and AAAA): this machine; its PTR record should say {config.hostname}.
  2. posthouse check --config {file}
  3. posthouse serve --config {file}""")
