"""SORT and THREAD (RFC 5256): what is known of the messages found, their order, and their threads.

What is compared are facts of the messages: see `facts`.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from posthouse.access.imap import collation, message_limit, search, threads
from posthouse.access.imap.contexts import TAG_REUSE
from posthouse.access.imap.filters import spelled_out
from posthouse.access.imap.selected import Selected
from posthouse.access.imap.state import User, completed
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.searching import SearchKey
from posthouse.protocol.imap.server import Result
from posthouse.protocol.imap.sorting import Algorithm, By, Criterion
from posthouse.store.facts import ADDRESS, ARRIVED, REFERENCES, SENT, SUBJECT, second

if TYPE_CHECKING:
    from posthouse.db import Reader

_FACTS = {
    By.ARRIVAL: (ARRIVED, 0),
    By.DATE: (SENT, 0),
    By.SUBJECT: (SUBJECT, 0),
    By.FROM: (ADDRESS, 0),
    By.TO: (ADDRESS, 1),
    By.CC: (ADDRESS, 2),
    By.DISPLAYFROM: (ADDRESS, 3),
    By.DISPLAYTO: (ADDRESS, 4),
}
"""The family of facts by which one sorts, and which of them."""


async def sort(user: User, command: commands.Sort) -> Result:
    """SORT and UID SORT, and with RETURN as RFC 5267 §3 has it."""
    selected = user.open
    if search.tag_in_use(user, command):
        return TAG_REUSE
    command = await spelled_out(user, command)
    found, limited = await search.found(user, command)
    if limited:
        return message_limit.refusal(user.services.imap.message_limit, limited)

    async def order(indexes: Sequence[int]) -> list[int]:
        return await sorted_by(user, selected, list(indexes), command.criteria, command.key)

    return await search.answer(user, command, await order(found), "SORT", order)


async def sorted_by(
    user: User, selected: Selected, indexes: list[int], criteria: Sequence[Criterion], key: SearchKey
) -> list[int]:
    """The messages in the order that the criteria say; `key` is what they were found by."""
    knowledge, uids = user.services.knowledge, selected.view.uids[:]
    everything = len(indexes) == len(uids) and all(one.by is not By.RELEVANCY for one in criteria)
    if not everything:
        return await _sorted(user, selected, indexes, criteria, key)
    wanted = (f"{'REVERSE ' * one.reverse}{one.by.value}" for one in criteria)
    question = " ".join(["SORT", user.enabled.comparator.value, *wanted])
    known = knowledge.answered(selected, question)
    if known is not None:
        return array("I", known).tolist()
    order = await _sorted(user, selected, indexes, criteria, key)
    knowledge.remember(selected, uids, question, array("I", order).tobytes())
    return order


async def _sorted(
    user: User, selected: Selected, indexes: list[int], criteria: Sequence[Criterion], key: SearchKey
) -> list[int]:
    columns = {one.by: await _column(user, selected, indexes, one.by, key) for one in criteria}
    places = list(range(len(indexes)))
    # RFC 5256 §3: what is equal stays in the order of the mailbox, whatever is reversed
    for criterion in reversed(criteria):
        places.sort(key=columns[criterion.by].__getitem__, reverse=criterion.reverse)
    return [indexes[place] for place in places]


async def _column(
    user: User, selected: Selected, indexes: list[int], by: By, key: SearchKey
) -> Sequence[Any]:
    """What messages are compared by. What has gone meanwhile has empty values."""
    if by is By.RELEVANCY:  # RFC 6203 §5: what fits best comes first
        return [-score for score in await search.relevancy(user, selected, key, indexes)]
    if by is By.SIZE:
        return [selected.view.sizes[index] for index in indexes]
    if (texts := await collation.column(user, selected, indexes, by)) is not None:
        return texts
    family, place = _FACTS[by]
    (columns,) = await user.services.knowledge.of_some(user, selected, (family,), indexes)
    if by is By.ARRIVAL:  # RFC 5256 §3: of one second, as INTERNALDATE has it, is equal
        return list(map(second, columns[place]))
    if by is By.DATE:
        return list(columns[place])
    # RFC 5051 §2 compares in title case: letters of ASCII stand before the signs behind Z.
    return [text.upper() for text in columns[place]]


async def thread(user: User, command: commands.Thread) -> Result:
    """THREAD and UID THREAD."""
    selected = user.open
    command = await spelled_out(user, command)
    found, limited = await search.found(user, command)
    if limited:
        return message_limit.refusal(user.services.imap.message_limit, limited)
    knowledge = user.services.knowledge
    how = f"{command.algorithm.value} {user.enabled.comparator.value}"
    question = f"{'UID ' if command.uid else ''}THREAD {how}"
    everything = len(found) == len(selected.view)
    said = knowledge.answered(selected, question) if everything else None
    if said is None:
        uids = selected.view.uids[:]
        said = await _threads(user, selected, command, found)
        if everything:
            knowledge.remember(selected, uids, question, said)
    response = b"* THREAD" + (b" " + said if said else b"") + b"\r\n"
    return completed("THREAD", untagged=response + await search.news(user, command))


async def _threads(user: User, selected: Selected, command: commands.Thread, found: Sequence[int]) -> bytes:
    uids = selected.view.uids
    numbers = [uids[index] for index in found] if command.uid else [index + 1 for index in found]
    by_references = command.algorithm is Algorithm.REFERENCES
    families = SENT, SUBJECT, REFERENCES
    facts = await user.services.knowledge.of_some(user, selected, families, found)
    (sent,), (bases, replies), (own, others) = facts
    if (subjects := await collation.column(user, selected, found, By.SUBJECT)) is not None:
        bases = [subject.encode("utf-8", "replace") for subject in subjects]

    def make(reader: Reader) -> bytes:
        known = threads.Known(list(sent), list(bases), list(replies), list(own), list(others))
        return threads.write(
            threads.by_references(known) if by_references else threads.by_subject(known), numbers
        )

    return await user.read_much(make)
