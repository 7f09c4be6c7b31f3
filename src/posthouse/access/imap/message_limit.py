"""MESSAGELIMIT and SAVELIMIT (RFC 9738): how many messages one command deals with.

What can be done in part is done with the messages of the highest UIDs, and the response code says down to
which: FETCH, STORE, MOVE, UID EXPUNGE, and SEARCH, of which the messages looked at count. What cannot is
refused: COPY, APPEND, SORT, THREAD, and FETCH of a larger part. EXPUNGE, CLOSE and STATUS have no limit. The
lines of a FETCH still come in the order of the mailbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from posthouse.protocol.imap.events import Result

if TYPE_CHECKING:
    from posthouse.access.imap.selected import Runs, Selected
    from posthouse.access.imap.state import User


class Part(NamedTuple):
    """The messages that a command deals with."""

    runs: Runs
    code: str = ""
    """MESSAGELIMIT, where these are not all."""


def newest(user: User, selected: Selected, runs: Runs) -> Part:
    """The messages of `runs` with the highest UIDs, as many as one command may deal with."""
    return _part(selected, runs, user.services.imap.message_limit)


def too_many(user: User, selected: Selected, runs: Runs, *, saving: bool = False) -> Result | None:
    """The refusal of a command that cannot be done in part; `saving`: of messages into a mailbox."""
    offers = user.services.imap
    limit = offers.message_limit or (offers.save_limit if saving else 0)
    code = _part(selected, runs, limit).code
    return refusal(limit, code) if code else None


def refusal(limit: int, code: str = "") -> Result:
    """Nothing has been done."""
    return Result("NO", f"One command takes {limit} messages at most", code or f"MESSAGELIMIT {limit}")


def _part(selected: Selected, runs: Runs, limit: int) -> Part:
    left = limit
    if not limit or sum(end - first for first, end in runs) <= limit:
        return Part(runs)
    kept: Runs = []
    for first, end in reversed(runs):
        kept.insert(0, (max(first, end - left), end))
        left -= end - first
        if left <= 0:
            break
    return Part(kept, f"MESSAGELIMIT {limit} {selected.view.uids[kept[0][0]]}")


def told(result: Result, code: str) -> Result:
    """The result of a command that was done in part; another response code has its place (RFC 9738 §3.1)."""
    if not code:
        return result
    if result.code == "EXPUNGEISSUED":  # RFC 9738 §3.1: in a tagged OK
        result = result._replace(status="OK")
    if result.status == "OK" and not result.code:
        return result._replace(code=code)
    line = f"* NO [{code}] Only the newest of the messages were dealt with\r\n".encode()
    return result._replace(untagged=result.untagged + line)
