"""The arguments of the commands that search: SEARCH, SORT and THREAD. As in `arguments`."""

from __future__ import annotations

from posthouse.protocol.imap.commands import CancelUpdate, Command, MultiSearch, Return, Search, Sort, Thread
from posthouse.protocol.imap.enabled import Enabled
from posthouse.protocol.imap.searching import Keys, SearchKey, filters, is_fuzzy, uses_numbers_or_saved
from posthouse.protocol.imap.sorting import By, parse_algorithm, parse_criteria
from posthouse.protocol.imap.sources import Among, Source, parse_source
from posthouse.protocol.imap.syntax import Parser, SyntaxProblem, read_tag


def search(parser: Parser, uid: bool) -> Command:
    parser.space()
    returns, partial = _returns(parser)
    return _checked(Search(_keys(parser), uid, returns, read_tag(parser.data), partial))


def multi_search(parser: Parser, uid: bool) -> Command:
    sources: tuple[Source, ...] = (Source(Among.SELECTED),)
    parser.space()
    if parser.data[parser.position : parser.position + 4].upper() == b"IN (":
        parser.position += 3
        sources = tuple(parser.listed(lambda: parse_source(parser), empty=False))
        parser.space()
    if any(source.among is Among.SELECTED_DELAYED for source in sources):
        raise SyntaxProblem("selected-delayed is for NOTIFY alone")  # RFC 7377 §2.2
    returns, partial = _returns(parser)
    returns = returns or frozenset({Return.ALL})
    if returns - _WITHOUT_MAILBOX:
        raise SyntaxProblem("SAVE, UPDATE and CONTEXT are for the selected mailbox")  # RFC 7377 §2.1
    key = _keys(parser)
    if uses_numbers_or_saved(key):
        raise SyntaxProblem("Numbers mean nothing in many mailboxes: say UID")  # RFC 7377 §2.1
    return _checked(MultiSearch(sources, key, returns, read_tag(parser.data), partial))


def _checked(command: Search | Sort | MultiSearch) -> Command:
    by_relevancy = isinstance(command, Sort) and any(one.by is By.RELEVANCY for one in command.criteria)
    wanted = command.returns is not None and Return.RELEVANCY in command.returns
    if (wanted or by_relevancy) and not (is_fuzzy(command.key) or filters(command.key)):
        raise SyntaxProblem("RELEVANCY is of a FUZZY search")  # RFC 6203 §4
    return command


def stored_search(octets: bytes) -> SearchKey:
    """A search that is kept as a value (RFC 5466 §3.5). Raises SyntaxProblem, UnknownCharset."""
    enabled = Enabled()
    enabled.utf8 = True
    return _keys(Parser(octets, 0, enabled))


_WITHOUT_MAILBOX = frozenset(
    {Return.MIN, Return.MAX, Return.COUNT, Return.ALL, Return.PARTIAL, Return.RELEVANCY}
)


def _keys(parser: Parser) -> SearchKey:
    charset = "UTF-8" if parser.enabled.utf8 else "US-ASCII"
    if parser.data[parser.position : parser.position + 8].upper() == b"CHARSET ":
        if parser.enabled.utf8_accept:
            raise SyntaxProblem("CHARSET is not allowed any more: all is UTF-8")  # RFC 6855 §3
        parser.position += 8
        charset = parser.astring().decode("ascii", "replace")
        parser.space()
    return Keys(parser, charset).all_of()


def cancel_update(parser: Parser, uid: bool) -> Command:
    tags: list[bytes] = []
    while not tags or not parser.at_end():
        parser.space()
        tags.append(parser.string())
    return CancelUpdate(tuple(tags))


def sort(parser: Parser, uid: bool) -> Command:
    parser.space()
    returns, partial = _returns(parser)
    criteria = parse_criteria(parser)
    parser.space()
    return _checked(Sort(criteria, _in_charset(parser), uid, returns, read_tag(parser.data), partial))


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

    options = frozenset(parser.listed(option))
    if not options - {Return.UPDATE, Return.CONTEXT, Return.RELEVANCY}:
        options |= {Return.ALL}
    if options >= {Return.ALL, Return.PARTIAL}:
        raise SyntaxProblem("Either ALL or PARTIAL")  # RFC 9394 §3.1
    parser.space()
    return options, partial
