"""STORE, COPY, MOVE, EXPUNGE and CLOSE: changes of the messages in the selected mailbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from posthouse.access.imap import flags, message_limit
from posthouse.access.imap.message_limit import newest
from posthouse.access.imap.selected import REMOVED, OwnChange, Runs, Selected, indexes_of, indexes_of_uids
from posthouse.access.imap.state import READ_ONLY, User, completed
from posthouse.access.places import Found, MayBeCreated, Missing, Place, flags_kept, look, place, require
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.commands import How
from posthouse.protocol.imap.sequence import write_sequence_set
from posthouse.protocol.imap.server import Result
from posthouse.store import changes, wide
from posthouse.store.changes import Action, Terms
from posthouse.store.flags import Flag, keyword_text, with_keywords, without_keywords
from posthouse.store.uids import ALL, Ranges, ranges_of

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId

_ACTIONS = {How.REPLACE: Action.SET, How.ADD: Action.ADD, How.REMOVE: Action.REMOVE}
_MANY = 500
"""Messages from which on a change is no short transaction."""

NOT_THESE = Result("NO", "You may change none of these flags here", "NOPERM")
NO_EXPUNGE = Result("NO", "You may not remove messages from this mailbox", "NOPERM")


def _many(ranges: Ranges) -> bool:
    return sum(last - first + 1 for first, last in ranges) > _MANY


async def store(user: User, command: commands.Store) -> Result:
    """STORE (RFC 3501 §6.4.6)."""
    selected = user.open
    runs, limited = newest(user, selected, selected.runs(command.numbers, uid=command.uid))
    if selected.read_only:
        return READ_ONLY
    bits, words = flags.split(command.flags)
    mask, keywords = flags_kept(selected.rights), "w" in selected.rights
    if not mask or (command.flags and not (bits & mask or (words and keywords))):
        return NOT_THESE  # RFC 4314 §4: only where nothing of it is allowed
    ranges = selected.uid_ranges(runs)
    if not ranges:
        return completed("STORE", untagged=await user.news(expunges=command.uid))
    account, action = selected.account, _ACTIONS[command.how]
    change = action.of(bits, mask)
    plain = command.unchanged_since is None and _only_flags(command, words, selected, runs)
    stored = await _store_many(user, selected, runs, change) if plain else None
    if stored is None:
        stored = await user.write(
            lambda tx: changes.store(
                tx,
                account,
                selected.mailbox,
                ranges,
                action,
                bits,
                words,
                unchanged_since=command.unchanged_since,
                excused=_unaffected(command, selected, bits & mask, words),
                mask=mask,
                keywords=keywords,
            ),
            account,
            long=_many(ranges),
        )
    # Where nothing changed, the modseq is that of somebody else's change.
    ours = stored.modseq if stored.changed else 0
    if ours:
        user.tell(ours, account)
    said = None
    if ours and plain:
        said = await selected.flags_stored(user, stored, runs, change, silent=command.silent)
    if said is None:
        expected = _expectation(command.how, bits, words) if command.silent else None
        said = await selected.news(user, expunges=command.uid, own=OwnChange(ours, expected))
    indexes = indexes_of(indexes_of_uids(selected.view, ranges))
    if not command.silent:
        said += selected.fetch_flags(indexes, with_uid=command.uid)
    elif command.unchanged_since is not None:
        # RFC 7162 §3.1.3: also of those that were as they are to be
        modseqs = selected.view.modseqs
        same = [at for at in indexes if ours != modseqs[at] <= command.unchanged_since]
        said += selected.modseq_lines(same)
    done = completed("STORE", _modified(selected, stored.refused, command.uid), said)
    return message_limit.told(done, limited)


async def _store_many(
    user: User, selected: Selected, runs: Runs, change: wide.Change
) -> changes.Stored | None:
    """STORE of system flags of a run of many messages, of which the view tells how many it concerns.

    None where it has to be done message by message.
    """
    if len(runs) != 1 or runs[0][1] - runs[0][0] < wide.MANY or selected.owes_expunges:
        return None
    account, view = selected.account, selected.view
    seen = changes.Seen(view.mailbox.modseq, view.changing(runs, change))
    (run,) = selected.uid_ranges(runs)
    return await user.write(
        lambda tx: changes.store_many(tx, account, selected.mailbox, run, change, seen), account
    )


def _unaffected(
    command: commands.Store, selected: Selected, bits: int, words: tuple[str, ...]
) -> Callable[[int, int, str], bool] | None:
    """Whether of a message only other flags have changed than those that are added or removed.

    RFC 7162 §3.1.12: what the client knew of them at the modseq that it names is still so. At 0 that is of
    keywords that they are not there (§3.1.3), so that of many clients one alone sets them.
    """
    since = command.unchanged_since
    if since is None or command.how is How.REPLACE:
        return None
    view, meant = selected.view, {word.lower() for word in words}

    def unaffected(uid: int, flags_now: int, keywords_now: str) -> bool:
        if since == 0:
            return not bits and meant.isdisjoint(keywords_now.lower().split())
        at = view.index(uid)
        if at is None or view.modseqs[at] > since or (view.flags[at] ^ flags_now) & bits:
            return False
        changed = set(view.keywords[at].lower().split()) ^ set(keywords_now.lower().split())
        return not changed & meant

    return unaffected


def _only_flags(command: commands.Store, words: tuple[str, ...], selected: Selected, runs: Runs) -> bool:
    """Whether no keyword changes."""
    if words:
        return False
    keywords = selected.view.keywords
    return command.how is not How.REPLACE or not any(any(keywords[first:end]) for first, end in runs)


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
    runs = selected.runs(command.numbers, uid=command.uid)
    refused = message_limit.too_many(user, selected, runs, saving=True)
    if refused is not None:
        return refused
    ranges = selected.uid_ranges(runs)
    account, mailbox = selected.account, selected.mailbox
    target = await place(user, command.mailbox)

    def closure(tx: Tx) -> changes.Copied:
        terms = _terms(tx, user, target)
        return changes.copy(tx, account, mailbox, ranges, target.name, terms)

    copied = await user.write(closure, account, *owner(target), long=_many(ranges))
    if copied.sources:
        user.tell(copied.modseq, target.account)
        user.has_put(target.account or user.account, copied.uidvalidity, copied.targets)
    code = _copyuid(copied) if await may_know_uids(user, target) else ""
    return completed("COPY", code, await user.news(expunges=True))


def _terms(tx: Tx, user: User, target: Place) -> Terms:
    """How copies come into the mailbox at `target`. Raises NoPermission, Missing."""
    found = target_of(tx, user, target)
    keywords = "w" in found.rights
    services = user.services
    return Terms(
        services.clock.now(), services.mailbox_size_limit, found.account, flags_kept(found.rights), keywords
    )


def target_of(tx: Tx | Reader, user: User, target: Place) -> Found:
    """The mailbox that messages are to be put into. Raises MayBeCreated, Missing, NoPermission."""
    found = look(tx, user, target)
    if found is None:
        missing = MayBeCreated if target.account == user.account else Missing
        raise missing(f"There is no mailbox {target.full}")
    require(found.rights, "i", target.full)
    return found


async def may_know_uids(user: User, target: Place) -> bool:
    """Whether the user may be told UIDs of a mailbox: not where he may only insert (RFC 9051 §6.3.12)."""
    if target.account == user.account:
        return True
    found = await user.read(lambda reader: look(reader, user, target))
    return found is not None and "r" in found.rights


def owner(target: Place) -> tuple[AccountId, ...]:
    """The account of a place, as a key of a write."""
    return () if target.account is None else (target.account,)


async def move(user: User, command: commands.Move) -> Result:
    """MOVE (RFC 6851 §3.3): COPYUID comes before the EXPUNGEs, in an untagged OK."""
    selected = user.open
    runs, limited = newest(user, selected, selected.runs(command.numbers, uid=command.uid))
    ranges = selected.uid_ranges(runs)
    if selected.read_only:
        return READ_ONLY
    if not selected.rights.issuperset("te"):
        return NO_EXPUNGE  # RFC 6851 §4.4
    account, mailbox, contents = selected.account, selected.mailbox, user.services.contents
    target = await place(user, command.mailbox)

    def closure(tx: Tx) -> changes.Copied:
        terms = _terms(tx, user, target)
        return changes.move(tx, account, mailbox, ranges, target.name, terms, contents)

    moved = await user.write(closure, account, *owner(target), long=_many(ranges))
    if not moved.sources:
        return completed("MOVE", untagged=await user.news(expunges=True))
    user.tell(moved.modseq, target.account)
    user.tell(moved.left, account)
    user.has_put(target.account or user.account, moved.uidvalidity, moved.targets)
    code = f"[{_copyuid(moved)}] " if await may_know_uids(user, target) else ""
    said = f"* OK {code}Moved\r\n".encode() + await user.news(expunges=True, own=REMOVED)
    return message_limit.told(completed("MOVE", highest_modseq(user), said), limited)


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
    if "e" not in selected.rights:
        return NO_EXPUNGE
    limited, ranges = "", ALL
    if command.uids is not None:
        runs = selected.runs(command.uids, uid=True)
        if user.services.imap.message_limit:  # only what is \\Deleted counts
            flags_now = selected.view.flags
            deleted = (index for index in indexes_of(runs) if flags_now[index] & Flag.DELETED)
            runs, limited = newest(user, selected, [(first, last + 1) for first, last in ranges_of(deleted)])
        ranges = selected.uid_ranges(runs)
    gone = await remove_deleted(user, ranges)
    said = await user.news(expunges=True, own=REMOVED if gone else None)
    return message_limit.told(completed("EXPUNGE", highest_modseq(user) if gone else "", said), limited)


async def close(user: User, command: commands.Close) -> Result:
    """CLOSE (RFC 3501 §6.4.2): the client does not want to be told what went."""
    # RFC 4314 §4: without the right to expunge it is closed all the same.
    if not user.open.read_only and "e" in user.open.rights:
        await remove_deleted(user, ALL)
    user.selected = None
    return completed("CLOSE")


async def remove_deleted(user: User, ranges: Ranges) -> bool:
    """Remove the messages in `ranges` that are \\Deleted; whether there were any."""
    account, mailbox, contents = user.open.account, user.open.mailbox, user.services.contents
    gone = await user.write(
        lambda tx: changes.expunge(tx, contents, account, mailbox, ranges), account, long=True
    )
    if gone.uids:
        user.tell(gone.modseq, account)
    return bool(gone.uids)
