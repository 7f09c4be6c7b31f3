"""What a search says it has found: SEARCH (RFC 3501 §7.2.5) and ESEARCH (RFC 4731 §3)."""

from __future__ import annotations

from collections.abc import Sequence

from posthouse.protocol.imap import commands
from posthouse.protocol.imap.commands import Return
from posthouse.protocol.imap.sequence import write_sequence_set
from posthouse.protocol.imap.syntax import quoted


def search_response(command: commands.Search, numbers: Sequence[int]) -> bytes:
    """The untagged response for the ascending `numbers` that were found, in the form the client asked for."""
    if command.returns is None:
        return b"* SEARCH%b\r\n" % "".join([f" {number}" for number in numbers]).encode()
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
    return b" ".join(items) + b"\r\n"


def saved(found: Sequence[int], returns: frozenset[Return]) -> Sequence[int]:
    """Which of the messages found `$` stands for from now on (RFC 5182 §2.4, table)."""
    if not returns & {Return.MIN, Return.MAX} or returns & {Return.ALL, Return.COUNT}:
        return found
    ends = found[:1] if Return.MIN in returns else []
    if Return.MAX in returns and (len(found) > 1 or not ends):
        ends = [*ends, *found[-1:]]
    return ends
