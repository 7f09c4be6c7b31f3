"""What a search says it has found: SEARCH (RFC 3501 §7.2.5), SORT (RFC 5256 §4), ESEARCH (RFC 4731 §3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from posthouse.protocol.imap import commands
from posthouse.protocol.imap.commands import Return
from posthouse.protocol.imap.sequence import write_sequence_set
from posthouse.protocol.imap.syntax import quoted

T = TypeVar("T")

_MOST = 100_000
_counted = b""
"""` 1 2 3` and on, as far as was needed, up to `_MOST`."""


def response(
    name: str,
    command: commands.Search | commands.Sort | commands.MultiSearch,
    numbers: Sequence[int],
    modseq: int,
    where: bytes = b"",
    scores: Sequence[int] = (),
) -> bytes:
    """The untagged response for the `numbers` that were found, in their order, as the client asked for it.

    `name`: SEARCH or SORT. `modseq`: the greatest of what is returned; 0 where it is not to be told.
    `where`: what an ESEARCH says of its mailbox. `scores`: how well each fits.
    """
    if command.returns is None:
        more = b" (MODSEQ %d)" % modseq if modseq else b""
        return b"* %b%b%b\r\n" % (name.encode(), listed(numbers), more)
    if command.returns <= {Return.SAVE, Return.UPDATE, Return.CONTEXT}:
        return b""  # RFC 5182 §2.1: nothing is returned
    items = [b"* ESEARCH (TAG %b%b)" % (quoted(command.tag), where)]
    if command.uid:
        items.append(b"UID")
    if numbers and Return.MIN in command.returns:
        items.append(b"MIN %d" % numbers[0])
    if numbers and Return.MAX in command.returns:
        items.append(b"MAX %d" % numbers[-1])
    if Return.COUNT in command.returns:
        items.append(b"COUNT %d" % len(numbers))
    if numbers and Return.ALL in command.returns:
        items.append(b"ALL " + write_sequence_set(numbers))
    if command.partial is not None:  # RFC 9394 §3.1
        place = b"%d:%d" % command.partial
        items.append(
            b"PARTIAL (%b %b)" % (place, write_sequence_set(part(numbers, command.partial)) or b"NIL")
        )
    if scores:
        shown = scores if command.partial is None else part(scores, command.partial)
        items.append(b"RELEVANCY (%b)" % b" ".join([b"%d" % score for score in shown]))
    if modseq:
        items.append(b"MODSEQ %d" % modseq)
    return b" ".join(items) + b"\r\n"


def listed(numbers: Sequence[int]) -> bytes:
    """A blank and the number, of each. Of a range of small ones it is cut out of what is ready."""
    global _counted
    if not isinstance(numbers, range) or numbers.step != 1 or numbers.stop > _MOST:
        return " ".join(["", *map(str, numbers)]).encode()
    start, end = _place(numbers.start), _place(numbers.stop)
    if end > len(_counted):
        _counted = " ".join(["", *map(str, range(1, numbers.stop))]).encode()
    return _counted[start:end]


def _place(number: int) -> int:
    """Where the blank before a number stands in ` 1 2 3`: all before it take a blank and their digits."""
    digits = len(str(number))
    return (number - 1) * (digits + 1) - sum(int("9" * fewer) for fewer in range(1, digits))


def part(found: Sequence[T], partial: tuple[int, int]) -> Sequence[T]:
    """Those of `found` at the places that PARTIAL names (RFC 9394 §3.1)."""
    low, high = sorted(map(abs, partial))
    if partial[0] > 0:
        return found[low - 1 : high]
    return found[max(len(found) - high, 0) : max(len(found) - low + 1, 0)]


def returned(
    found: Sequence[int], returns: frozenset[Return], partial: tuple[int, int] | None
) -> Sequence[int]:
    """What of the messages found is returned: first, last or a part, if only they are asked for; else all.

    They are also what `$` stands for from then on (RFC 5182 §2.4, RFC 9394 §3.2).
    """
    if not returns & {Return.MIN, Return.MAX, Return.PARTIAL} or returns & {Return.ALL, Return.COUNT}:
        return found
    some: list[int] = []
    if Return.MIN in returns:
        some += found[:1]
    if partial is not None:
        some += part(found, partial)
    if Return.MAX in returns:
        some += found[-1:]
    return list(dict.fromkeys(some))
