"""The arguments of the commands that search: SEARCH, SORT and THREAD. As in `arguments`."""

from __future__ import annotations

from posthouse.protocol.imap.commands import Command, Return, Search, Sort, Thread
from posthouse.protocol.imap.searching import Keys, SearchKey
from posthouse.protocol.imap.sorting import parse_algorithm, parse_criteria
from posthouse.protocol.imap.syntax import Parser, SyntaxProblem, read_tag


def search(parser: Parser, uid: bool) -> Command:
    parser.space()
    returns, partial = _returns(parser)
    charset = "UTF-8" if parser.enabled.utf8 else "US-ASCII"
    if parser.data[parser.position : parser.position + 8].upper() == b"CHARSET ":
        if parser.enabled.utf8_accept:
            raise SyntaxProblem("CHARSET is not allowed any more: all is UTF-8")  # RFC 6855 §3
        parser.position += 8
        charset = parser.astring().decode("ascii", "replace")
        parser.space()
    return Search(Keys(parser, charset).all_of(), uid, returns, read_tag(parser.data), partial)


def sort(parser: Parser, uid: bool) -> Command:
    parser.space()
    returns, partial = _returns(parser)
    criteria = parse_criteria(parser)
    parser.space()
    return Sort(criteria, _in_charset(parser), uid, returns, read_tag(parser.data), partial)


def thread(parser: Parser, uid: bool) -> Command:
    parser.space()
    algorithm = parse_algorithm(parser)
    parser.space()
    return Thread(algorithm, _in_charset(parser), uid)


def _in_charset(parser: Parser) -> SearchKey:
    charset = parser.astring().decode("ascii", "replace")
    parser.space()
    return Keys(parser, charset).all_of()


def _returns(parser: Parser) -> tuple[frozenset[Return] | None, tuple[int, int] | None]:
    """`RETURN (MIN COUNT)` and the space behind it; an empty list asks for ALL (RFC 4731 §3.1).

    Beside the options, the range of PARTIAL.
    """
    if parser.data[parser.position : parser.position + 7].upper() != b"RETURN ":
        return None, None
    parser.position += 7
    partial: tuple[int, int] | None = None

    def option() -> Return:
        nonlocal partial
        name = parser.word()
        if name not in Return.__members__:
            raise SyntaxProblem(f"Unknown return option {name}")
        if name == "PARTIAL":
            if partial is not None:
                raise SyntaxProblem("PARTIAL may be there once")  # RFC 9394 §3.1
            parser.space()
            partial = parser.partial_range()
        return Return[name]

    options = frozenset(parser.listed(option)) or frozenset({Return.ALL})
    if options >= {Return.ALL, Return.PARTIAL}:
        raise SyntaxProblem("Either ALL or PARTIAL")  # RFC 9394 §3.1
    parser.space()
    return options, partial
