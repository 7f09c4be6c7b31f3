"""Which recipients exist in the domains that we relay to: files of addresses, one a line.

    # comment
    alice@branch.example
    @sales.branch.example            everybody in the domain

What follows the address on its line is ignored, so a relay_recipient_maps file of Postfix serves as it
is. A file that has changed is read again within a second; one that cannot be read leaves what was
known before, and its domain's recipients are deferred where nothing was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from posthouse.mail.address import Address, AddressError, canonical, domain_to_ascii, parse_address
from posthouse.observe import log

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from posthouse.ports import Clock

LOOK_AFTER = 1.0
"""Seconds between two looks at the files."""

_log = log.get("routing")


class _Listed(NamedTuple):
    stamp: tuple[int, int, int]
    known: frozenset[str] | None
    """Canonical addresses, and `@domain` for whole domains; None: never read."""


class RecipientLists:
    """The files of one worker, by path."""

    def __init__(self, paths: Iterable[Path], clock: Clock) -> None:
        self._clock = clock
        self._files: dict[Path, _Listed] = {path: _Listed((0, 0, 0), None) for path in paths}
        self._looked = float("-inf")
        self._version = 0

    def version(self) -> int:
        """A number that grows whenever a file has been read again; 0 for ever where there are no files."""
        if self._files:
            now = self._clock.now()
            if not 0 <= now - self._looked < LOOK_AFTER:
                self._looked = now
                for path in self._files:
                    self._look(path)
        return self._version

    def lists(self, path: Path, address: Address) -> bool | None:
        """Whether the file names the address; None where it could never be read."""
        known = self._files[path].known
        if known is None:
            return None
        return canonical(address) in known or f"@{domain_to_ascii(address.domain)}" in known

    def _look(self, path: Path) -> None:
        before = self._files[path]
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == before.stamp:
                return
            known = frozenset(_entries(path))
        except (OSError, UnicodeDecodeError) as problem:
            if before.stamp != (-1, -1, -1):
                _log.error("relay recipients not readable", file=str(path), reason=str(problem))
                self._files[path] = _Listed((-1, -1, -1), before.known)
            return
        self._files[path] = _Listed(stamp, known)
        self._version += 1


def _entries(path: Path) -> Iterable[str]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            words = line.split(maxsplit=1)
            if not words or words[0].startswith("#"):
                continue
            try:
                if words[0].startswith("@"):
                    yield "@" + domain_to_ascii(words[0][1:])
                else:
                    yield canonical(parse_address(words[0]))
            except AddressError as problem:
                _log.warning(
                    "line of relay recipients ignored", file=str(path), line=number, reason=str(problem)
                )
