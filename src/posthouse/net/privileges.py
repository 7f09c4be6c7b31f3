"""From root to the user that owns the data: for a while, or for good, after the ports are bound."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Owner(NamedTuple):
    """A user of the machine; `name` is empty where the uid has none."""

    uid: int
    gid: int
    name: str


class NoSuchUser(Exception):
    """The configured user does not exist on this machine."""


def owner_of(data_directory: Path, user: str = "") -> Owner:
    """The user to serve as: `user`, or whose `data_directory` is. Raises NoSuchUser, FileNotFoundError."""
    if user:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise NoSuchUser(f"there is no user {user} on this machine") from None
        return Owner(entry.pw_uid, entry.pw_gid, entry.pw_name)
    status = data_directory.stat()
    try:
        return Owner(status.st_uid, status.st_gid, pwd.getpwuid(status.st_uid).pw_name)
    except KeyError:
        return Owner(status.st_uid, status.st_gid, "")


def become(owner: Owner) -> None:
    """Become `owner`, when root; new files are for the owner only. Does nothing for other users."""
    os.umask(0o077)
    if os.geteuid() != 0 or owner.uid == 0:
        return
    if owner.name:
        os.initgroups(owner.name, owner.gid)
        os.environ["HOME"] = pwd.getpwuid(owner.uid).pw_dir
    else:
        os.setgroups([])
    os.setgid(owner.gid)
    os.setuid(owner.uid)


@contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """For root: files made within belong to `uid`, and only it may read them."""
    before, mask = (os.geteuid(), os.getegid()), os.umask(0o077)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(before[0])
        os.setegid(before[1])
        os.umask(mask)
