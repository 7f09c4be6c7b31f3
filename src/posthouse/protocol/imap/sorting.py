"""What SORT and THREAD ask for (RFC 5256 §3): the order of messages, and how they belong together."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from posthouse.protocol.imap.syntax import Parser, SyntaxProblem

MOST_CRITERIA = 32


class By(Enum):
    """What messages are compared by; the value is the name on the wire."""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    DISPLAYFROM = "DISPLAYFROM"  # RFC 5957 §3
    DISPLAYTO = "DISPLAYTO"
    FROM = "FROM"
    RELEVANCY = "RELEVANCY"  # RFC 6203 §5
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"


class Criterion(NamedTuple):
    by: By
    reverse: bool


class Algorithm(Enum):
    """How messages are threaded; the value is the name on the wire."""

    ORDEREDSUBJECT = "ORDEREDSUBJECT"
    REFERENCES = "REFERENCES"


def parse_criteria(parser: Parser) -> tuple[Criterion, ...]:
    """`(REVERSE DATE SUBJECT)`; a criterion that comes again says nothing new."""

    def criterion() -> Criterion:
        name = parser.word()
        reverse = name == "REVERSE"
        if reverse:
            parser.space()
            name = parser.word()
        if name not in By.__members__:
            raise SyntaxProblem(f"Unknown sort criterion {name}")
        return Criterion(By[name], reverse)

    criteria = parser.listed(criterion, empty=False)
    if len(criteria) > MOST_CRITERIA:
        raise SyntaxProblem("Too many sort criteria")
    first: dict[By, Criterion] = {}
    for one in criteria:
        first.setdefault(one.by, one)
    return tuple(first.values())


def parse_algorithm(parser: Parser) -> Algorithm:
    """The name of a threading algorithm."""
    name = parser.word()
    if name not in Algorithm.__members__:
        raise SyntaxProblem(f"Unknown threading algorithm {name}")
    return Algorithm[name]
