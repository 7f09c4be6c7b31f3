"""STORE, COPY, MOVE, EXPUNGE and CLOSE: changes of the messages in the selected mailbox."""

from __future__ import annotations

from collections.abc import Callable

from posthouse.access.imap import flags
from posthouse.access.imap.selected import OwnChange, Selected, indexes_of, indexes_of_uids
from posthouse.access.imap.state import READ_ONLY, User, completed
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.commands import How
from posthouse.protocol.imap.sequence import write_sequence_set
from posthouse.protocol.imap.server import Result
from posthouse.store import changes
from posthouse.store.changes import Action, Terms
from posthouse.store.flags import keyword_text, with_keywords, without_keywords
from posthouse.store.mailboxes import canonical_name
from posthouse.store.uids import ALL, Ranges

_ACTIONS = {How.REPLACE: Action.SET, How.ADD: Action.ADD, How.REMOVE: Action.REMOVE}
_MANY = 500
"""Messages from which on a change is no short transaction."""


def _many(ranges: Ranges) -> bool:
    return sum(last - first + 1 for first, last in ranges) > _MANY


async def store(user: User, command: commands.Store) -> Result:
    """STORE (RFC 3501 §6.4.6)."""
    selected = user.open
    runs = selected.runs(command.numbers, uid=command.uid)
    if selected.read_only:
        return READ_ONLY
    ranges = selected.uid_ranges(runs)
    if not ranges:
        return completed("STORE", untagged=await user.news(expunges=command.uid))
    bits, words = flags.split(command.flags)
    action, account, mailbox = _ACTIONS[command.how], selected.account, selected.mailbox
    stored = await user.write(
        lambda tx: changes.store(
            tx, account, mailbox, ranges, action, bits, words, unchanged_since=command.unchanged_since
        ),
        long=_many(ranges),
    )
    # Where nothing changed, the modseq is that of somebody else's change.
    ours = stored.modseq if stored.changed else 0
    if ours:
        user.tell(ours)
    expected = _expectation(command.how, bits, words) if command.silent else None
    said = await selected.news(user, expunges=command.uid, own=OwnChange(ours, expected))
    if not command.silent:
        indexes = indexes_of(indexes_of_uids(selected.view, ranges))
        said += selected.fetch_flags(indexes, with_uid=command.uid)
    return completed("STORE", _modified(selected, stored.refused, command.uid), said)


def _modified(selected: Selected, refused: list[int], uid: bool) -> str:
    """MODIFIED: what was left alone (RFC 7162 §3.1.3)."""
    if not uid:
        found = (selected.view.index(number) for number in refused)
        refused = [index + 1 for index in found if index is not None]
    return f"MODIFIED {write_sequence_set(refused).decode()}" if refused else ""


def _expectation(how: How, bits: int, words: tuple[str, ...]) -> Callable[[int, str], tuple[int, str]]:
    """What a client that said .SILENT believes the flags to be (RFC 3501 §6.4.6)."""

    def expected(flags: int, keywords: str) -> tuple[int, str]:
        if how is How.REPLACE:
            return bits, keyword_text(words)
        if how is How.ADD:
            return flags | bits, with_keywords(keywords, words)
        return flags & ~bits, without_keywords(keywords, words)

    return expected


async def copy(user: User, command: commands.Copy) -> Result:
    """COPY (RFC 3501 §6.4.7), answered with COPYUID (RFC 4315 §3)."""
    selected = user.open
    ranges = selected.uid_ranges(selected.runs(command.numbers, uid=command.uid))
    target, account, mailbox = canonical_name(command.mailbox), selected.account, selected.mailbox
    terms = _terms(user)
    copied = await user.write(
        lambda tx: changes.copy(tx, account, mailbox, ranges, target, terms), long=_many(ranges)
    )
    if copied.sources:
        user.tell(copied.modseq)
    return completed("COPY", _copyuid(copied), await user.news(expunges=True))


def _terms(user: User) -> Terms:
    return Terms(user.services.clock.now(), user.services.mailbox_size_limit)


async def move(user: User, command: commands.Move) -> Result:
    """MOVE (RFC 6851 §3.3): COPYUID comes before the EXPUNGEs, in an untagged OK."""
    selected = user.open
    ranges = selected.uid_ranges(selected.runs(command.numbers, uid=command.uid))
    if selected.read_only:
        return READ_ONLY
    target, account, mailbox = canonical_name(command.mailbox), selected.account, selected.mailbox
    terms, contents = _terms(user), user.services.contents
    moved = await user.write(
        lambda tx: changes.move(tx, account, mailbox, ranges, target, terms, contents), long=_many(ranges)
    )
    if not moved.sources:
        return completed("MOVE", untagged=await user.news(expunges=True))
    user.tell(moved.modseq)
    said = f"* OK [{_copyuid(moved)}] Moved\r\n".encode() + await user.news(expunges=True)
    return completed("MOVE", highest_modseq(user), said)


def highest_modseq(user: User) -> str:
    """Up to where a client that resynchronises knows all now (RFC 7162 §3.2.7)."""
    return f"HIGHESTMODSEQ {user.open.view.mailbox.modseq}" if user.enabled.qresync else ""


def _copyuid(copied: changes.Copied) -> str:
    if not copied.sources:
        return ""
    sources, targets = write_sequence_set(copied.sources), write_sequence_set(copied.targets)
    return f"COPYUID {copied.uidvalidity} {sources.decode()} {targets.decode()}"


async def expunge(user: User, command: commands.Expunge) -> Result:
    """EXPUNGE and UID EXPUNGE (RFC 3501 §6.4.3, RFC 4315 §2.1)."""
    selected = user.open
    if selected.read_only:
        return READ_ONLY
    if command.uids is None:
        gone = await remove_deleted(user, ALL)
    else:
        gone = await remove_deleted(user, selected.uid_ranges(selected.runs(command.uids, uid=True)))
    said = await user.news(expunges=True)
    return completed("EXPUNGE", highest_modseq(user) if gone else "", said)


async def close(user: User, command: commands.Close) -> Result:
    """CLOSE (RFC 3501 §6.4.2): the client does not want to be told what went."""
    if not user.open.read_only:
        await remove_deleted(user, ALL)
    user.selected = None
    return completed("CLOSE")


async def remove_deleted(user: User, ranges: Ranges) -> bool:
    """Remove the messages in `ranges` that are \\Deleted; whether there were any."""
    account, mailbox, contents = user.open.account, user.open.mailbox, user.services.contents
    gone = await user.write(lambda tx: changes.expunge(tx, contents, account, mailbox, ranges), long=True)
    if gone.uids:
        user.tell(gone.modseq)
    return bool(gone.uids)
