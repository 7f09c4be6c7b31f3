"""FETCH of one message that has been read ahead: the shortest way from the command to its answer.

It is taken where nothing can be in its way: one message, named by its number or UID, of one's own mailbox, in
which nothing has happened since the last command; and items that are said as they stand. All else, and
whatever is not at hand, is for `fetch`, which gives the same answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posthouse.access.imap.fetch_plan import Plan, is_whole, plan
from posthouse.protocol.imap.fetching import Item, Text
from posthouse.protocol.imap.server import Result
from posthouse.store.flags import Flag

if TYPE_CHECKING:
    from posthouse.access.imap.fetch_lines import Row
    from posthouse.access.imap.selected import Selected
    from posthouse.access.imap.state import User
    from posthouse.protocol.imap import commands


def at_hand(user: User, command: commands.Fetch) -> Result | None:
    """The answer, if this is such a command. Raises DatabaseError."""
    selected = user.open
    index = _index(selected, command)
    if index is None or selected.account != user.account or user.told is not None or user.enabled.uidonly:
        return None
    wanted = plan(command.items, uid=command.uid)
    if not wanted.quick or not selected.is_current(user):
        return None
    if wanted.seen and not selected.view.flags[index] & Flag.SEEN and selected.may_mark:
        return None
    row: Row | None = None
    if wanted.columns:
        key = selected.account, selected.mailbox, wanted.columns, selected.view.uids[index]
        row = user.services.read_ahead.take(key)
        if row is None:
            return None
        if row[_BLOB] is not None:
            user.services.read_ahead.keep([(key, row)])
            return None
    return Result("OK", "FETCH completed", "", _line(selected, wanted, index, row))


_BLOB = 4
"""Where it stands among the columns that a quick plan wants."""


def _index(selected: Selected, command: commands.Fetch) -> int | None:
    """Where the message stands, if the command names one that is there and wants no more of it than items."""
    ranges = command.numbers.ranges
    if len(ranges) != 1 or command.changed_since is not None or command.partial is not None:
        return None
    number, last = ranges[0]
    if number != last or number < 1:
        return None
    view = selected.view
    if command.uid:
        return view.index(number)
    return number - 1 if number <= len(view) else None


def _line(selected: Selected, wanted: Plan, index: int, row: Row | None) -> bytes:
    """As `fetch_lines` has it, for one message; its octets are copied once."""
    view = selected.view
    said: list[bytes] = [b"* %d FETCH (" % (index + 1)]
    for item, _ in wanted.plain:
        if item is Item.UID:
            said += b"UID %d" % view.uids[index], b" "
        elif item is Item.SIZE:
            said += b"RFC822.SIZE %d" % view.sizes[index], b" "
        else:
            said += selected.flags_of((index,))[0], b" "
    if row is not None:
        _, prefix, head, _, _, body = row
        body = body or b""
        for what, label in wanted.others:
            if is_whole(what) and what.text is Text.WHOLE:
                said += label, b"{%d}\r\n" % (len(prefix) + len(head) + len(body)), prefix, head, body, b" "
            else:
                said += label, b"{%d}\r\n" % len(body), body, b" "
    said[-1] = b")\r\n"
    return b"".join(said)
