"""The arguments of the commands that search: SEARCH, SORT and THREAD. As in `arguments`."""

from __future__ import annotations

from typing import NamedTuple

from posthouse.protocol.imap.commands import CancelUpdate, Command, MultiSearch, Return, Search, Sort, Thread
from posthouse.protocol.imap.enabled import Enabled
from posthouse.protocol.imap.fetching import FetchItem, parse_fetch_list
from posthouse.protocol.imap.searching import (
    Keys,
    SearchKey,
    UnknownCharset,
    UnknownStrings,
    filters,
    is_fuzzy,
    uses_saved,
)
from posthouse.protocol.imap.sorting import By, parse_algorithm, parse_criteria
from posthouse.protocol.imap.sources import Among, Source, parse_source
from posthouse.protocol.imap.syntax import Parser, SyntaxProblem, read_tag


class Options(NamedTuple):
    """`RETURN (…)`."""

    returns: frozenset[Return] | None = None
    """None: it is not there."""
    partial: tuple[int, int] | None = None
    """The range of PARTIAL."""
    update: tuple[FetchItem, ...] = ()
    """What UPDATE asks for of messages that come (RFC 5465 §7)."""


def search(parser: Parser, uid: bool) -> Command:
    parser.space()
    options = _returns(parser)
    tag = read_tag(parser.data)
    try:
        key = _keys(parser)
    except UnknownCharset:
        if options.returns is None or Return.SAVE not in options.returns:
            raise
        parser.position = len(parser.data)
        key = UnknownStrings()  # RFC 5182 §2.1: it fails, and `$` stands for nothing
    return _checked(Search(key, uid, options.returns, tag, options.partial, options.update))


def multi_search(parser: Parser, uid: bool) -> Command:
    sources: tuple[Source, ...] = (Source(Among.SELECTED),)
    parser.space()
    if parser.data[parser.position : parser.position + 4].upper() == b"IN (":
        parser.position += 3
        sources = tuple(parser.listed(lambda: parse_source(parser), empty=False))
        parser.space()
    if any(source.among is Among.SELECTED_DELAYED for source in sources):
        raise SyntaxProblem("selected-delayed is for NOTIFY alone")  # RFC 7377 §2.2
    options = _returns(parser)
    returns = options.returns or frozenset({Return.ALL})
    only_selected = all(source.among is Among.SELECTED for source in sources)
    if Return.SAVE in returns and not only_selected:
        raise SyntaxProblem("SAVE is for the selected mailbox alone")  # RFC 7377 §2.2
    key = _keys(parser)
    if uses_saved(key) and not only_selected:
        raise SyntaxProblem("$ stands for messages of the selected mailbox alone")
    tag = read_tag(parser.data)
    return _checked(MultiSearch(sources, key, returns, tag, options.partial, options.update))


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


def _keys(parser: Parser) -> SearchKey:
    charset = "UTF-8" if parser.enabled.utf8 else ""
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
    options = _returns(parser)
    criteria = parse_criteria(parser)
    parser.space()
    key, tag = _in_charset(parser), read_tag(parser.data)
    return _checked(Sort(criteria, key, uid, options.returns, tag, options.partial, options.update))


def thread(parser: Parser, uid: bool) -> Command:
    parser.space()
    algorithm = parse_algorithm(parser)
    parser.space()
    return Thread(algorithm, _in_charset(parser), uid)


def _in_charset(parser: Parser) -> SearchKey:
    charset = parser.astring().decode("ascii", "replace")
    parser.space()
    return Keys(parser, charset).all_of()


def _returns(parser: Parser) -> Options:
    """`RETURN (MIN COUNT)` and the space behind it; an empty list asks for ALL (RFC 4731 §3.1)."""
    if parser.data[parser.position : parser.position + 7].upper() != b"RETURN ":
        return Options()
    parser.position += 7
    partial: tuple[int, int] | None = None
    update: tuple[FetchItem, ...] = ()

    def option() -> Return:
        nonlocal partial, update
        name = parser.word()
        if name not in Return.__members__:
            raise SyntaxProblem(f"Unknown return option {name}")
        if name == "PARTIAL":
            if partial is not None:
                raise SyntaxProblem("PARTIAL may be there once")  # RFC 9394 §3.1
            parser.space()
            partial = parser.partial_range()
        if name == "UPDATE" and (parser.next_is(b" (") or parser.next_is(b"(")):
            parser.skip(b" ")  # RFC 5465 has it in its example, and not in its grammar
            update = parse_fetch_list(parser)
        return Return[name]

    options = frozenset(parser.listed(option))
    if not options - {Return.UPDATE, Return.CONTEXT, Return.RELEVANCY}:
        options |= {Return.ALL}
    if options >= {Return.ALL, Return.PARTIAL}:
        raise SyntaxProblem("Either ALL or PARTIAL")  # RFC 9394 §3.1
    parser.space()
    return Options(options, partial, update)
