"""The commands of IMAP: one table, from which parsing, guards, CAPABILITY and the documentation are made.

A row names the command, the states in which it is allowed, the function that reads its arguments into
a command value, whether it also stands behind `UID`, the capability that announces it, and where it is
specified. The values are what the session hands to its driver; names and patterns of mailboxes in them
are decoded, flags have their usual spelling.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, Flag, auto
from typing import NamedTuple, TypeAlias

from posthouse.protocol.imap.fetching import FetchItem, parse_fetch_items
from posthouse.protocol.imap.searching import Keys, SearchKey
from posthouse.protocol.imap.sequence import SequenceSet
from posthouse.protocol.imap.syntax import Parser, SyntaxProblem


class State(Flag):
    """The states of a session (RFC 3501 §3)."""

    NOT_AUTHENTICATED = auto()
    AUTHENTICATED = auto()
    SELECTED = auto()


class Capability(NamedTuple):
    """CAPABILITY; answered by the session."""


class Noop(NamedTuple):
    """NOOP: tell what has changed."""


class Check(NamedTuple):
    """CHECK: as NOOP, for all is durable always."""


class Logout(NamedTuple):
    """LOGOUT; answered by the session."""


class Id(NamedTuple):
    """ID (RFC 2971): what the client says of itself."""

    fields: tuple[tuple[bytes, bytes | None], ...]


class StartTls(NamedTuple):
    """STARTTLS; answered by the session."""


class Authenticate(NamedTuple):
    """AUTHENTICATE: the session leads the exchange, and hands out a `Login`."""

    mechanism: str
    initial: bytes | None
    """The initial response in base64 (RFC 4959); None where there is none."""


class Login(NamedTuple):
    login: str
    password: str


class Enable(NamedTuple):
    """ENABLE (RFC 5161); answered by the session."""

    capabilities: tuple[str, ...]


class Namespace(NamedTuple):
    """NAMESPACE (RFC 2342)."""


class Select(NamedTuple):
    mailbox: str
    read_only: bool
    """EXAMINE."""


class Create(NamedTuple):
    mailbox: str


class Delete(NamedTuple):
    mailbox: str


class Rename(NamedTuple):
    mailbox: str
    to: str


class Subscribe(NamedTuple):
    mailbox: str


class Unsubscribe(NamedTuple):
    mailbox: str


class List(NamedTuple):
    """LIST, plain or with the selection and return options of RFC 5258 and RFC 6154."""

    reference: str
    patterns: tuple[str, ...]
    selection: frozenset[str] = frozenset()
    """Of SUBSCRIBED, SPECIAL-USE, REMOTE, RECURSIVEMATCH."""
    wanted: frozenset[str] = frozenset()
    """Of SUBSCRIBED, CHILDREN, SPECIAL-USE."""
    status: tuple[str, ...] = ()
    """Items of RETURN (STATUS (…)), RFC 5819."""
    extended: bool = False
    """Written in the syntax of RFC 5258."""


class Lsub(NamedTuple):
    reference: str
    pattern: str


class Status(NamedTuple):
    mailbox: str
    items: tuple[str, ...]


class Append(NamedTuple):
    """The message of an APPEND is about to come, in `Literal` events and an `AppendEnd`."""

    mailbox: str
    flags: tuple[str, ...]
    date: float | None
    """Internal date, seconds since 1970 UTC; None: now."""
    size: int
    """Octets of the message."""


class Close(NamedTuple):
    """CLOSE: expunge without telling, and leave the mailbox."""


class Unselect(NamedTuple):
    """UNSELECT (RFC 3691): leave the mailbox."""


class Expunge(NamedTuple):
    uids: SequenceSet | None
    """UID EXPUNGE (RFC 4315): only these; None: all that are \\Deleted."""


class Search(NamedTuple):
    key: SearchKey
    uid: bool


class Fetch(NamedTuple):
    numbers: SequenceSet
    items: tuple[FetchItem, ...]
    uid: bool


class How(Enum):
    """What STORE does with the flags it names."""

    REPLACE = ""
    ADD = "+"
    REMOVE = "-"


class Store(NamedTuple):
    numbers: SequenceSet
    how: How
    silent: bool
    flags: tuple[str, ...]
    uid: bool


class Copy(NamedTuple):
    numbers: SequenceSet
    mailbox: str
    uid: bool


class Move(NamedTuple):
    """MOVE (RFC 6851)."""

    numbers: SequenceSet
    mailbox: str
    uid: bool


class Idle(NamedTuple):
    """IDLE (RFC 2177): from now on push what changes, until `IdleEnd`."""


Command: TypeAlias = (
    Capability | Noop | Check | Logout | Id | StartTls | Authenticate | Login | Enable | Namespace
    | Select | Create | Delete | Rename | Subscribe | Unsubscribe | List | Lsub | Status | Append
    | Close | Unselect | Expunge | Search | Fetch | Store | Copy | Move | Idle
)  # fmt: skip


# Arguments. Each function begins behind the name of the command and reads to the end.


def _none(command: Callable[[], Command]) -> Callable[[Parser, bool], Command]:
    def read(parser: Parser, uid: bool) -> Command:
        return command()

    return read


def _one_mailbox(command: Callable[[str], Command]) -> Callable[[Parser, bool], Command]:
    def read(parser: Parser, uid: bool) -> Command:
        parser.space()
        return command(parser.mailbox())

    return read


def _id(parser: Parser, uid: bool) -> Command:
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


def _authenticate(parser: Parser, uid: bool) -> Command:
    parser.space()
    mechanism = parser.word()
    initial = None
    if parser.skip(b" "):
        initial = parser.data[parser.position :]
        parser.position = len(parser.data)
    return Authenticate(mechanism, initial)


def _login(parser: Parser, uid: bool) -> Command:
    parser.space()
    login = parser.text()
    parser.space()
    return Login(login, parser.text())


def _enable(parser: Parser, uid: bool) -> Command:
    parser.space()
    names = [parser.word()]
    while parser.skip(b" "):
        names.append(parser.word())
    return Enable(tuple(names))


def _rename(parser: Parser, uid: bool) -> Command:
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    return Rename(mailbox, parser.mailbox())


_SELECTION_OPTIONS = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
_RETURN_OPTIONS = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE"})
STATUS_ITEMS = frozenset({"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN"})


def _list(parser: Parser, uid: bool) -> Command:
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
    if parser.skip(b" "):
        extended = True
        if parser.word() != "RETURN":
            raise SyntaxProblem("Expected RETURN")
        parser.space()

        def option() -> None:
            nonlocal status
            name = parser.word()
            if name == "STATUS":
                parser.space()
                status = _status_items(parser)
            elif name not in _RETURN_OPTIONS:
                raise SyntaxProblem(f"Unknown return option {name}")
            wanted.append(name)

        parser.listed(option)
    return List(reference, patterns, selection, frozenset(wanted) - {"STATUS"}, status, extended)


def _lsub(parser: Parser, uid: bool) -> Command:
    parser.space()
    reference = parser.mailbox()
    parser.space()
    return Lsub(reference, parser.list_mailbox())


def _status(parser: Parser, uid: bool) -> Command:
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


def _append(parser: Parser, uid: bool) -> Command:
    """Up to the literal, whose `{n}` the session has taken off and put into `size` afterwards."""
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    flags: tuple[str, ...] = ()
    if parser.next_is(b"("):
        flags = parser.flag_list()
        parser.space()
    date = None
    if parser.next_is(b'"'):
        date = parser.date_time()
        parser.space()
    return Append(mailbox, flags, date, 0)


def _expunge(parser: Parser, uid: bool) -> Command:
    if not uid:
        return Expunge(None)
    parser.space()
    return Expunge(parser.sequence_set())


def _search(parser: Parser, uid: bool) -> Command:
    parser.space()
    charset = "US-ASCII"
    if parser.data[parser.position : parser.position + 8].upper() == b"CHARSET ":
        parser.position += 8
        charset = parser.astring().decode("ascii", "replace")
        parser.space()
    return Search(Keys(parser, charset).all_of(), uid)


def _fetch(parser: Parser, uid: bool) -> Command:
    parser.space()
    numbers = parser.sequence_set()
    parser.space()
    return Fetch(numbers, parse_fetch_items(parser), uid)


_STORE_ITEMS = {
    prefix.value + "FLAGS" + suffix: (prefix, bool(suffix)) for prefix in How for suffix in ("", ".SILENT")
}


def _store(parser: Parser, uid: bool) -> Command:
    parser.space()
    numbers = parser.sequence_set()
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
    return Store(numbers, how, silent, flags, uid)


def _to_mailbox(command: Callable[[SequenceSet, str, bool], Command]) -> Callable[[Parser, bool], Command]:
    def read(parser: Parser, uid: bool) -> Command:
        parser.space()
        numbers = parser.sequence_set()
        parser.space()
        return command(numbers, parser.mailbox(), uid)

    return read


class Verb(NamedTuple):
    name: str
    states: State
    read: Callable[[Parser, bool], Command]
    """Arguments → command; the flag says that the command stood behind UID."""
    rfc: str
    capability: str = ""
    """Names that CAPABILITY lists for it, parted by spaces."""
    uid: bool = False
    """Stands behind UID too."""


_ANY = State.NOT_AUTHENTICATED | State.AUTHENTICATED | State.SELECTED
_BEFORE = State.NOT_AUTHENTICATED
_AFTER = State.AUTHENTICATED | State.SELECTED
_IN = State.SELECTED

VERBS = (
    Verb("CAPABILITY", _ANY, _none(Capability), "RFC 3501 §6.1.1"),
    Verb("NOOP", _ANY, _none(Noop), "RFC 3501 §6.1.2"),
    Verb("LOGOUT", _ANY, _none(Logout), "RFC 3501 §6.1.3"),
    Verb("ID", _ANY, _id, "RFC 2971 §3.1", "ID"),
    Verb("STARTTLS", _BEFORE, _none(StartTls), "RFC 3501 §6.2.1"),
    Verb("AUTHENTICATE", _BEFORE, _authenticate, "RFC 3501 §6.2.2", "SASL-IR"),
    Verb("LOGIN", _BEFORE, _login, "RFC 3501 §6.2.3"),
    Verb("ENABLE", _AFTER, _enable, "RFC 5161 §3.1", "ENABLE"),
    Verb("NAMESPACE", _AFTER, _none(Namespace), "RFC 2342 §5", "NAMESPACE"),
    Verb("SELECT", _AFTER, _one_mailbox(lambda name: Select(name, False)), "RFC 3501 §6.3.1"),
    Verb("EXAMINE", _AFTER, _one_mailbox(lambda name: Select(name, True)), "RFC 3501 §6.3.2"),
    Verb("CREATE", _AFTER, _one_mailbox(Create), "RFC 3501 §6.3.3"),
    Verb("DELETE", _AFTER, _one_mailbox(Delete), "RFC 3501 §6.3.4"),
    Verb("RENAME", _AFTER, _rename, "RFC 3501 §6.3.5"),
    Verb("SUBSCRIBE", _AFTER, _one_mailbox(Subscribe), "RFC 3501 §6.3.6"),
    Verb("UNSUBSCRIBE", _AFTER, _one_mailbox(Unsubscribe), "RFC 3501 §6.3.7"),
    Verb("LIST", _AFTER, _list, "RFC 3501 §6.3.8, RFC 5258 §3", "CHILDREN LIST-EXTENDED LIST-STATUS"),
    Verb("LSUB", _AFTER, _lsub, "RFC 3501 §6.3.9"),
    Verb("STATUS", _AFTER, _status, "RFC 3501 §6.3.10"),
    Verb("APPEND", _AFTER, _append, "RFC 3501 §6.3.11"),
    Verb("IDLE", _AFTER, _none(Idle), "RFC 2177 §3", "IDLE"),
    Verb("CHECK", _IN, _none(Check), "RFC 3501 §6.4.1"),
    Verb("CLOSE", _IN, _none(Close), "RFC 3501 §6.4.2"),
    Verb("UNSELECT", _IN, _none(Unselect), "RFC 3691 §2", "UNSELECT"),
    Verb("EXPUNGE", _IN, _expunge, "RFC 3501 §6.4.3, RFC 4315 §2.1", "UIDPLUS", True),
    Verb("SEARCH", _IN, _search, "RFC 3501 §6.4.4", "", True),
    Verb("FETCH", _IN, _fetch, "RFC 3501 §6.4.5", "", True),
    Verb("STORE", _IN, _store, "RFC 3501 §6.4.6", "", True),
    Verb("COPY", _IN, _to_mailbox(Copy), "RFC 3501 §6.4.7", "", True),
    Verb("MOVE", _IN, _to_mailbox(Move), "RFC 6851 §3", "MOVE", True),
)  # fmt: skip

BY_NAME = {verb.name: verb for verb in VERBS}
UID_COMMANDS = {verb.name: verb for verb in VERBS if verb.uid}

CAPABILITIES = (
    "IMAP4rev1",
    "LITERAL+",  # RFC 7888
    "SPECIAL-USE",  # RFC 6154
    *dict.fromkeys(name for verb in VERBS for name in verb.capability.split()),
)
"""What CAPABILITY lists whatever the state; AUTH=, STARTTLS and LOGINDISABLED come and go."""


class Head(NamedTuple):
    """The beginning of a command: its tag, its row of the table, and where its arguments begin."""

    tag: bytes
    verb: Verb
    uid: bool
    position: int


def read_head(octets: bytes) -> Head:
    """Tag and name of a command. SyntaxProblem where the name is unknown; see `read_tag` for the tag."""
    parser = Parser(octets)
    tag = parser.tag()
    parser.space()
    name = parser.word()
    uid = name == "UID"
    if uid:
        parser.space()
        name = parser.word()
    verb = (UID_COMMANDS if uid else BY_NAME).get(name)
    if verb is None:
        raise SyntaxProblem(f"Unknown command UID {name}" if uid else f"Unknown command {name}")
    return Head(tag, verb, uid, parser.position)


def read_tag(octets: bytes) -> bytes:
    """The tag of a command, or `*` where it has none: what its BAD is answered under."""
    try:
        parser = Parser(octets)
        tag = parser.tag()
        return tag if parser.next_is(b" ") or parser.at_end() else b"*"
    except SyntaxProblem:
        return b"*"
