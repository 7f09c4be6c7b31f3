"""What can be wrong with a change to the directory, in words for the administrator who asked for it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class DirectoryProblem(ValueError):
    """A change that was refused; nothing was changed. The message is a sentence for the administrator."""

    hint: str = ""
    """What to do about it; empty where there is nothing to add."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NoSuchEntry(DirectoryProblem):
    """The domain, account or alias does not exist."""


class AlreadyThere(DirectoryProblem):
    """The domain, account or alias exists already."""


class NotAllowed(DirectoryProblem):
    """The value is malformed, or the change would break something."""


def no_such(kind: str, name: str, known: Iterable[str], *, of: str = "") -> NoSuchEntry:
    """The problem that there is no `kind` called `name`, with the nearest of the `known` names as a hint.

    `of`: whose it would be.
    """
    near = [other for other in get_close_matches(name, known, n=3, cutoff=0.6) if _alike(name, other)]
    hint = f"Did you mean {' or '.join(near)}?" if near else ""
    whose = f" of {of}" if of else ""
    return NoSuchEntry(f"There is no {kind} {name}{whose}.", hint)


def _alike(name: str, other: str) -> bool:
    """Whether both halves of two addresses are: those of one domain have much in common by that alone."""
    if "@" not in name or "@" not in other:
        return True
    halves = zip(name.rsplit("@", 1), other.rsplit("@", 1), strict=True)
    return all(get_close_matches(one, [another], cutoff=0.6) for one, another in halves)
