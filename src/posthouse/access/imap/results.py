"""What a search says it has found: SEARCH (RFC 3501 §7.2.5), SORT (RFC 5256 §4), ESEARCH (RFC 4731 §3)."""

from __future__ import annotations

from collections.abc import Sequence

from posthouse.protocol.imap import commands
from posthouse.protocol.imap.commands import Return
from posthouse.protocol.imap.sequence import write_sequence_set
from posthouse.protocol.imap.syntax import quoted


def response(
    name: str, command: commands.Search | commands.Sort, numbers: Sequence[int], modseq: int
) -> bytes:
    """The untagged response for the `numbers` that were found, in their order, as the client asked for it.

    `name`: SEARCH or SORT. `modseq`: the greatest of what is returned; 0 where it is not to be told.
    """
    if command.returns is None:
        more = f" (MODSEQ {modseq})" if modseq else ""
        listed = "".join([f" {number}" for number in numbers])
        return f"* {name}{listed}{more}\r\n".encode()
    if command.returns == {Return.SAVE}:
        return b""  # RFC 5182 §2.1: nothing is returned
    items = [b"* ESEARCH (TAG %b)" % quoted(command.tag)]
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
    if modseq:
        items.append(b"MODSEQ %d" % modseq)
    return b" ".join(items) + b"\r\n"


def ends(found: Sequence[int], returns: frozenset[Return]) -> Sequence[int]:
    """What of the messages found is returned: the first or last, where only they are asked for, else all.

    They are also what `$` stands for from then on (RFC 5182 §2.4).
    """
    if not returns & {Return.MIN, Return.MAX} or returns & {Return.ALL, Return.COUNT}:
        return found
    one = found[:1] if Return.MIN in returns else []
    if Return.MAX in returns and (len(found) > 1 or not one):
        return [*one, *found[-1:]]
    return one
