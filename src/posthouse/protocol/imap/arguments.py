"""The arguments of IMAP commands: one function for each grammar, from the text behind the name to a value.

Each begins behind the name of the command and reads to the end; what breaks the grammar raises
`SyntaxProblem`. The flag says that the command stood behind UID.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from posthouse.protocol.imap import metadata
from posthouse.protocol.imap.commands import (
    Append,
    AppendNext,
    Authenticate,
    Command,
    Comparator,
    Compress,
    Create,
    Enable,
    Expunge,
    Fetch,
    GenUrlAuth,
    GetMetadata,
    GetQuota,
    How,
    Id,
    Language,
    List,
    Login,
    Lsub,
    Notify,
    Rename,
    ResetKey,
    Resync,
    Select,
    SetAcl,
    SetMetadata,
    Status,
    Store,
    UrlFetch,
)
from posthouse.protocol.imap.fetching import parse_fetch_items
from posthouse.protocol.imap.notifying import parse_groups
from posthouse.protocol.imap.sequence import SequenceSet
from posthouse.protocol.imap.syntax import LiteralExpected, Parser, SyntaxProblem

Reader: TypeAlias = Callable[[Parser, bool], Command]


def nothing(command: Callable[[], Command]) -> Reader:
    def read(parser: Parser, uid: bool) -> Command:
        return command()

    return read


def one_mailbox(command: Callable[[str], Command]) -> Reader:
    def read(parser: Parser, uid: bool) -> Command:
        parser.space()
        return command(parser.mailbox())

    return read


def client_id(parser: Parser, uid: bool) -> Command:
    parser.space()
    if not parser.next_is(b"("):
        if parser.nstring() is not None:
            raise SyntaxProblem("Expected a list or NIL")
        return Id(())

    def field() -> tuple[bytes, bytes | None]:
        name = parser.string()
        parser.space()
        return name, parser.nstring()

    fields = parser.listed(field)
    if len(fields) > 30:  # RFC 2971 §3.3
        raise SyntaxProblem("ID takes 30 fields at most")
    return Id(tuple(fields))


def authenticate(parser: Parser, uid: bool) -> Command:
    parser.space()
    mechanism = parser.word()
    initial = None
    if parser.skip(b" "):
        initial = parser.data[parser.position :]
        parser.position = len(parser.data)
    return Authenticate(mechanism, initial)


def login(parser: Parser, uid: bool) -> Command:
    parser.space()
    login = parser.text()
    parser.space()
    return Login(login, parser.text())


def compress(parser: Parser, uid: bool) -> Command:
    parser.space()
    if parser.word() != "DEFLATE":
        raise SyntaxProblem("Unknown compression algorithm")
    return Compress()


def language(parser: Parser, uid: bool) -> Command:
    ranges = []
    while parser.skip(b" "):
        ranges.append(parser.text())
    return Language(tuple(ranges))


def comparator(parser: Parser, uid: bool) -> Command:
    orders = []
    while parser.skip(b" "):
        orders.append(parser.text())
    return Comparator(tuple(orders))


def enable(parser: Parser, uid: bool) -> Command:
    parser.space()
    names = [parser.word()]
    while parser.skip(b" "):
        names.append(parser.word())
    return Enable(tuple(names))


def select(parser: Parser, uid: bool) -> Command:
    return _select(parser, read_only=False)


def examine(parser: Parser, uid: bool) -> Command:
    return _select(parser, read_only=True)


def _select(parser: Parser, *, read_only: bool) -> Select:
    parser.space()
    command = Select(parser.mailbox(), read_only)
    if not parser.skip(b" "):
        return command

    def parameter() -> None:
        nonlocal command
        name = parser.word()
        if name == "CONDSTORE":
            command = command._replace(condstore=True)
        elif name == "QRESYNC" and command.resync is None:
            parser.space()
            command = command._replace(resync=_resync(parser))
        else:
            raise SyntaxProblem(f"Unknown parameter {name}")

    parser.listed(parameter, empty=False)
    return command


def _resync(parser: Parser) -> Resync:
    if not parser.enabled.qresync:  # RFC 7162 §3.2.5
        raise SyntaxProblem("Say ENABLE QRESYNC first")
    parser.expect(b"(")
    uidvalidity = parser.number64()
    parser.space()
    modseq = parser.number64()
    known = None
    samples = None
    if parser.skip(b" ") and not parser.next_is(b"("):
        known = parser.number_set()
        if parser.skip(b" ") and not parser.next_is(b"("):
            raise SyntaxProblem("Expected a list of sequence numbers and UIDs")
    if parser.skip(b"("):
        numbers = parser.number_set()
        parser.space()
        samples = numbers, parser.number_set()
        parser.expect(b")")
    parser.expect(b")")
    return Resync(uidvalidity, modseq, known, samples)


def create(parser: Parser, uid: bool) -> Command:
    parser.space()
    mailbox = parser.mailbox()
    if not parser.skip(b" "):
        return Create(mailbox)
    parser.expect(b"(")
    if parser.word() != "USE":
        raise SyntaxProblem("Unknown parameter")
    parser.space()
    uses = parser.listed(parser.attribute)
    parser.expect(b")")
    return Create(mailbox, tuple(dict.fromkeys(uses)))


def rename(parser: Parser, uid: bool) -> Command:
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    return Rename(mailbox, parser.mailbox())


_SELECTION_OPTIONS = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
_RETURN_OPTIONS = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "MYRIGHTS"})
STATUS_ITEMS = frozenset(
    {
        "MESSAGES",
        "RECENT",
        "UIDNEXT",
        "UIDVALIDITY",
        "UNSEEN",
        "DELETED",  # RFC 9051 §6.3.11
        "APPENDLIMIT",  # RFC 7889 §3.1
        "DELETED-STORAGE",  # RFC 9208 §4.1.4
        "SIZE",  # RFC 8438 §2
        "HIGHESTMODSEQ",  # RFC 7162 §3.1.7
        "MAILBOXID",  # RFC 8474 §4.3
    }
)


def listing(parser: Parser, uid: bool) -> Command:
    parser.space()
    selection: frozenset[str] = frozenset()
    extended = parser.next_is(b"(")
    if extended:
        selection = frozenset(parser.listed(parser.word))
        if unknown := selection - _SELECTION_OPTIONS:
            raise SyntaxProblem(f"Unknown selection option {min(unknown)}")
        if selection & {"RECURSIVEMATCH"} and not selection & {"SUBSCRIBED", "SPECIAL-USE"}:
            raise SyntaxProblem("RECURSIVEMATCH needs another selection option")  # RFC 5258 §3.1
        parser.space()
    reference = parser.mailbox()
    parser.space()
    if parser.next_is(b"("):
        extended = True
        patterns = tuple(parser.listed(parser.list_mailbox, empty=False))
    else:
        patterns = (parser.list_mailbox(),)
    wanted: list[str] = []
    status: tuple[str, ...] = ()
    notes = None
    if parser.skip(b" "):
        extended = True
        if parser.word() != "RETURN":
            raise SyntaxProblem("Expected RETURN")
        parser.space()

        def option() -> None:
            nonlocal status, notes
            name = parser.word()
            if name == "STATUS":
                parser.space()
                status = _status_items(parser)
            elif name == "METADATA":
                parser.space()
                notes = metadata.wanted(parser)
            elif name not in _RETURN_OPTIONS:
                raise SyntaxProblem(f"Unknown return option {name}")
            wanted.append(name)

        parser.listed(option)
    options = frozenset(wanted) - {"STATUS", "METADATA"}
    return List(reference, patterns, selection, options, status, extended, notes)


def lsub(parser: Parser, uid: bool) -> Command:
    parser.space()
    reference = parser.mailbox()
    parser.space()
    return Lsub(reference, parser.list_mailbox())


def status(parser: Parser, uid: bool) -> Command:
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    return Status(mailbox, _status_items(parser))


def _status_items(parser: Parser) -> tuple[str, ...]:
    items = tuple(dict.fromkeys(parser.listed(parser.word, empty=False)))
    for item in items:
        if item not in STATUS_ITEMS:
            raise SyntaxProblem(f"Unknown STATUS item {item}")
    return items


def get_metadata(parser: Parser, uid: bool) -> Command:
    """Options stand before the mailbox (RFC 5464 §5), or behind it, where some programs write them."""
    parser.space()
    found = metadata.options(parser)
    mailbox = parser.mailbox()
    parser.space()
    if found == metadata.Wanted(()):
        return GetMetadata(mailbox, metadata.wanted(parser))
    return GetMetadata(mailbox, found._replace(entries=metadata.entries(parser)))


def set_metadata(parser: Parser, uid: bool) -> Command:
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    return SetMetadata(mailbox, metadata.values(parser))


def set_acl(parser: Parser, uid: bool) -> Command:
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    identifier = parser.text()
    parser.space()
    rights = parser.text()
    how = rights[:1] if rights[:1] in ("+", "-") else ""
    return SetAcl(mailbox, identifier, how, rights.removeprefix(how))


def mailbox_and_identifier(command: Callable[[str, str], Command]) -> Reader:
    def read(parser: Parser, uid: bool) -> Command:
        parser.space()
        mailbox = parser.mailbox()
        parser.space()
        return command(mailbox, parser.text())

    return read


def get_quota(parser: Parser, uid: bool) -> Command:
    parser.space()
    return GetQuota(parser.text())


def gen_url_auth(parser: Parser, uid: bool) -> Command:
    urls: list[tuple[str, str]] = []
    while not urls or not parser.at_end():
        parser.space()
        url = parser.text()
        parser.space()
        urls.append((url, parser.word()))
    return GenUrlAuth(tuple(urls))


def reset_key(parser: Parser, uid: bool) -> Command:
    if parser.at_end():
        return ResetKey(None)
    parser.space()
    mailbox = parser.mailbox()
    mechanisms = []
    while not parser.at_end():
        parser.space()
        mechanisms.append(parser.word())
    return ResetKey(mailbox, tuple(mechanisms))


def url_fetch(parser: Parser, uid: bool) -> Command:
    urls: list[str] = []
    while not urls or not parser.at_end():
        parser.space()
        urls.append(parser.text())
    return UrlFetch(tuple(urls))


def append(parser: Parser, uid: bool) -> Command:
    """Up to the message; the rest is read by `appending`."""
    parser.space()
    return Append(_mailbox(parser), *_flags_and_date(parser), 0)


def replace(parser: Parser, uid: bool) -> Command:
    """As `append` (RFC 8508 §3)."""
    parser.space()
    numbers = parser.sequence_set()
    if numbers.has_saved or len(numbers.ranges) != 1 or numbers.ranges[0][0] != numbers.ranges[0][1]:
        raise SyntaxProblem("Expected the number of one message")
    parser.space()
    return Append(_mailbox(parser), *_flags_and_date(parser), 0, replaces=numbers, uid=uid)


def _mailbox(parser: Parser) -> str:
    if parser.at_end():
        raise LiteralExpected
    return parser.mailbox()


def append_next(parser: Parser) -> AppendNext:
    """What stands between two messages of one APPEND (RFC 3502 §6.3.11), up to the literal."""
    return AppendNext(*_flags_and_date(parser), 0)


def _flags_and_date(parser: Parser) -> tuple[tuple[str, ...], float | None]:
    parser.space()
    flags: tuple[str, ...] = ()
    if parser.next_is(b"("):
        flags = parser.flag_list()
        parser.space()
    date = None
    if parser.next_is(b'"'):
        date = parser.date_time()
        parser.space()
    return flags, date


def notify(parser: Parser, uid: bool) -> Command:
    """Raises UnknownEvent too."""
    parser.space()
    word = parser.word()
    if word == "NONE":
        return Notify(())
    if word != "SET":
        raise SyntaxProblem("Expected SET or NONE")
    status = parser.data[parser.position : parser.position + 8].upper() == b" STATUS "
    parser.position += len(" STATUS") if status else 0
    return Notify(parse_groups(parser), status)


def expunge(parser: Parser, uid: bool) -> Command:
    if not uid:
        return Expunge(None)
    parser.space()
    return Expunge(parser.sequence_set())


def fetch(parser: Parser, uid: bool) -> Command:
    parser.space()
    numbers = parser.sequence_set()
    parser.space()
    command = Fetch(numbers, parse_fetch_items(parser), uid)
    if not parser.skip(b" "):
        return command

    def modifier() -> None:
        nonlocal command
        name = parser.word()
        if name == "CHANGEDSINCE":
            parser.space()
            command = command._replace(changed_since=parser.number64())
        elif name == "VANISHED" and uid and parser.enabled.qresync:
            command = command._replace(vanished=True)
        elif name == "PARTIAL" and uid:  # RFC 9394 §3.3
            parser.space()
            command = command._replace(partial=parser.partial_range())
        else:
            raise SyntaxProblem(f"Unknown modifier {name}")

    parser.listed(modifier, empty=False)
    if command.vanished and command.changed_since is None:
        raise SyntaxProblem("VANISHED needs CHANGEDSINCE")  # RFC 7162 §3.2.6
    return command


_STORE_ITEMS = {
    prefix.value + "FLAGS" + suffix: (prefix, bool(suffix)) for prefix in How for suffix in ("", ".SILENT")
}


def store(parser: Parser, uid: bool) -> Command:
    parser.space()
    numbers = parser.sequence_set()
    parser.space()
    unchanged_since = None
    if parser.skip(b"("):
        if parser.word() != "UNCHANGEDSINCE":
            raise SyntaxProblem("Unknown modifier")
        parser.space()
        unchanged_since = parser.number64()
        parser.expect(b")")
        parser.space()
    name = parser.word()
    if name not in _STORE_ITEMS:
        raise SyntaxProblem(f"Unknown STORE item {name}")
    how, silent = _STORE_ITEMS[name]
    parser.space()
    if parser.next_is(b"("):
        flags = parser.flag_list()
    else:
        named = [parser.flag()]
        while parser.skip(b" "):
            named.append(parser.flag())
        flags = tuple(named)
    return Store(numbers, how, silent, flags, uid, unchanged_since)


def to_mailbox(command: Callable[[SequenceSet, str, bool], Command]) -> Reader:
    def read(parser: Parser, uid: bool) -> Command:
        parser.space()
        numbers = parser.sequence_set()
        parser.space()
        return command(numbers, parser.mailbox(), uid)

    return read
