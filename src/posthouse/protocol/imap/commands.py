"""The commands of IMAP as values: what the session reads from the wire and hands to its driver.

Names and patterns of mailboxes in them are decoded, flags have their usual spelling. How they are
written is in `arguments`, when they are allowed in `verbs`.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias

from posthouse.protocol.imap.fetching import FetchItem, Item
from posthouse.protocol.imap.metadata import Wanted
from posthouse.protocol.imap.notifying import Group
from posthouse.protocol.imap.searching import SearchKey, numbered, seeks_modseq
from posthouse.protocol.imap.sequence import SequenceSet
from posthouse.protocol.imap.sorting import Algorithm, Criterion
from posthouse.protocol.imap.sources import Source


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


class Unauthenticate(NamedTuple):
    """UNAUTHENTICATE (RFC 8437): log out, and stay."""


class Compress(NamedTuple):
    """COMPRESS DEFLATE (RFC 4978)."""


class Enable(NamedTuple):
    """ENABLE (RFC 5161); answered by the session."""

    capabilities: tuple[str, ...]


class Namespace(NamedTuple):
    """NAMESPACE (RFC 2342)."""


class Language(NamedTuple):
    """LANGUAGE (RFC 5255 §3.2); answered by the session."""

    ranges: tuple[str, ...]
    """What the client can read, best first; empty: which languages are there?"""


class Comparator(NamedTuple):
    """COMPARATOR (RFC 5255 §4.7); answered by the session."""

    orders: tuple[str, ...]
    """Patterns of names, the best first; empty: which one is it?"""


class Resync(NamedTuple):
    """The QRESYNC parameter of SELECT: what the client knows already (RFC 7162 §3.2.5)."""

    uidvalidity: int
    modseq: int
    known: SequenceSet | None
    """UIDs; None: all."""
    samples: tuple[SequenceSet, SequenceSet] | None
    """Sequence numbers, and the UIDs they had (§3.2.5.2)."""


class Select(NamedTuple):
    mailbox: str
    read_only: bool
    """EXAMINE."""
    condstore: bool = False
    resync: Resync | None = None


class Create(NamedTuple):
    mailbox: str
    uses: tuple[str, ...] = ()
    """Special uses, as the client spells them (RFC 6154 §3)."""


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
    """Of SUBSCRIBED, CHILDREN, SPECIAL-USE, MYRIGHTS."""
    status: tuple[str, ...] = ()
    """Items of RETURN (STATUS (…)), RFC 5819."""
    extended: bool = False
    """Written in the syntax of RFC 5258."""
    metadata: Wanted | None = None
    """RETURN (METADATA …), RFC 9590."""


class Lsub(NamedTuple):
    reference: str
    pattern: str


class Status(NamedTuple):
    mailbox: str
    items: tuple[str, ...]


class GetMetadata(NamedTuple):
    """GETMETADATA (RFC 5464 §4.2)."""

    mailbox: str
    """Empty: the server."""
    wanted: Wanted


class SetMetadata(NamedTuple):
    """SETMETADATA (RFC 5464 §4.3)."""

    mailbox: str
    values: tuple[tuple[str, bytes | None], ...]
    """None removes an entry."""


class SetAcl(NamedTuple):
    """SETACL (RFC 4314 §3.1)."""

    mailbox: str
    identifier: str
    how: str
    """`+`, `-`, or empty: instead of what there was."""
    rights: str


class DeleteAcl(NamedTuple):
    """DELETEACL (RFC 4314 §3.2)."""

    mailbox: str
    identifier: str


class GetAcl(NamedTuple):
    """GETACL (RFC 4314 §3.3)."""

    mailbox: str


class ListRights(NamedTuple):
    """LISTRIGHTS (RFC 4314 §3.4)."""

    mailbox: str
    identifier: str


class MyRights(NamedTuple):
    """MYRIGHTS (RFC 4314 §3.5)."""

    mailbox: str


class GetQuota(NamedTuple):
    """GETQUOTA (RFC 9208 §4.1.1)."""

    root: str


class GetQuotaRoot(NamedTuple):
    """GETQUOTAROOT (RFC 9208 §4.1.2)."""

    mailbox: str


class GenUrlAuth(NamedTuple):
    """GENURLAUTH (RFC 4467 §7)."""

    urls: tuple[tuple[str, str], ...]
    """URLs that name who may use them, each with the mechanism that is to sign it, in capitals."""


class ResetKey(NamedTuple):
    """RESETKEY (RFC 4467 §7)."""

    mailbox: str | None
    """None: all."""
    mechanisms: tuple[str, ...] = ()


class UrlFetch(NamedTuple):
    """URLFETCH (RFC 4467 §7)."""

    urls: tuple[str, ...]


class Append(NamedTuple):
    """The message of an APPEND is about to come, in `Literal` events and an `AppendEnd`."""

    mailbox: str
    flags: tuple[str, ...]
    date: float | None
    """Internal date, seconds since 1970 UTC; None: now."""
    size: int
    """Octets of the message."""
    binary: bool = False
    """It may contain NUL (RFC 3516 §4.4)."""
    catenate: bool = False
    """It comes in parts (RFC 4469): `CatenateText` and `CatenateUrl` follow; `size` is 0."""
    replaces: SequenceSet | None = None
    """REPLACE (RFC 8508): the one message that it takes the place of."""
    uid: bool = False
    """`replaces` is a UID."""


class AppendNext(NamedTuple):
    """Another message of the same APPEND is about to come (RFC 3502); the one before is complete."""

    flags: tuple[str, ...]
    date: float | None
    size: int
    binary: bool = False
    catenate: bool = False


class CatenateText(NamedTuple):
    """A part of a message is about to come, in `Literal` events (RFC 4469 §3)."""

    size: int
    binary: bool = False


class CatenateUrl(NamedTuple):
    """A part of a message is what an IMAP URL names."""

    url: str


class Close(NamedTuple):
    """CLOSE: expunge without telling, and leave the mailbox."""


class Unselect(NamedTuple):
    """UNSELECT (RFC 3691): leave the mailbox."""


class Expunge(NamedTuple):
    uids: SequenceSet | None
    """UID EXPUNGE (RFC 4315): only these; None: all that are \\Deleted."""


class Return(Enum):
    """What a SEARCH returns of its findings (RFC 4731 §3.1, RFC 5182 §2)."""

    MIN = "MIN"
    MAX = "MAX"
    COUNT = "COUNT"
    ALL = "ALL"
    PARTIAL = "PARTIAL"  # RFC 9394 §3.1
    RELEVANCY = "RELEVANCY"
    """How well each fits, from 1 to 100 (RFC 6203 §4)."""
    UPDATE = "UPDATE"
    """Keep the client up to date about the results (RFC 5267 §4.3)."""
    CONTEXT = "CONTEXT"
    """The client will come back to the results (RFC 5267 §4.2): a hint, which nothing here depends on."""
    SAVE = "SAVE"


class Search(NamedTuple):
    key: SearchKey
    uid: bool
    returns: frozenset[Return] | None
    """None: asked without RETURN, and answered with SEARCH."""
    tag: bytes
    """What ESEARCH refers to."""
    partial: tuple[int, int] | None = None
    """Which of the findings PARTIAL returns: places from 1 on, or from -1 back."""
    update: tuple[FetchItem, ...] = ()
    """What UPDATE wants to be told of messages that come (RFC 5465 §7)."""


class CancelUpdate(NamedTuple):
    """CANCELUPDATE (RFC 5267 §4.3.5)."""

    tags: tuple[bytes, ...]


class Notify(NamedTuple):
    """NOTIFY (RFC 5465)."""

    groups: tuple[Group, ...]
    """Empty: NONE."""
    status: bool = False
    """Tell first how things are."""


class MultiSearch(NamedTuple):
    """ESEARCH (RFC 7377): a search in many mailboxes, answered by UID."""

    sources: tuple[Source, ...]
    key: SearchKey
    returns: frozenset[Return]
    tag: bytes
    partial: tuple[int, int] | None = None
    update: tuple[FetchItem, ...] = ()

    @property
    def uid(self) -> bool:
        return True


class Sort(NamedTuple):
    """SORT (RFC 5256), with `returns` as RFC 5267 §3 has it."""

    criteria: tuple[Criterion, ...]
    key: SearchKey
    uid: bool
    returns: frozenset[Return] | None
    tag: bytes
    partial: tuple[int, int] | None = None
    update: tuple[FetchItem, ...] = ()


class Thread(NamedTuple):
    """THREAD (RFC 5256)."""

    algorithm: Algorithm
    key: SearchKey
    uid: bool


class Fetch(NamedTuple):
    numbers: SequenceSet
    items: tuple[FetchItem, ...]
    uid: bool
    changed_since: int | None = None
    """Only messages with a greater modseq (RFC 7162 §3.1.4.1)."""
    vanished: bool = False
    """Tell also which were expunged since (§3.2.6)."""
    partial: tuple[int, int] | None = None
    """Only these of the messages (RFC 9394 §3.3), as in `Search`."""


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
    unchanged_since: int | None = None
    """Leave alone what has a greater modseq (RFC 7162 §3.1.3)."""


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
    Capability | Noop | Check | Logout | Id | StartTls | Authenticate | Login | Unauthenticate | Compress
    | Language | Comparator | Enable | Namespace | Select | Create | Delete | Rename | Subscribe | Unsubscribe
    | List | Lsub | Status
    | GetMetadata | SetMetadata | SetAcl | DeleteAcl | GetAcl | ListRights | MyRights | GetQuota
    | GetQuotaRoot | GenUrlAuth | ResetKey | UrlFetch | Append | AppendNext | CatenateText
    | CatenateUrl
    | Close | Unselect | Expunge | Search | MultiSearch | CancelUpdate | Notify | Sort | Thread | Fetch
    | Store | Copy | Move | Idle
)  # fmt: skip


def turns_on_condstore(command: Command) -> bool:
    """Whether the client shows that it knows of modseqs (RFC 7162 §3.1)."""
    match command:
        case Select():
            return command.condstore or command.resync is not None
        case Status(items=items) | List(status=items):
            return "HIGHESTMODSEQ" in items
        case Fetch():
            return command.changed_since is not None or Item.MODSEQ in command.items
        case Store():
            return command.unchanged_since is not None
        case Search() | MultiSearch() | Sort() | Thread():
            return seeks_modseq(command.key)
    return False


def uses_numbers(command: Command) -> bool:
    """Whether sequence numbers are said, or would be answered (RFC 9586 §3.1)."""
    match command:
        case Fetch() | Store() | Copy() | Move():
            return not command.uid
        case Search() | Sort() | Thread() | MultiSearch():
            return not command.uid or numbered(command.key)
        case Append():
            return command.replaces is not None and not command.uid
        case Select():
            return command.resync is not None and command.resync.samples is not None
    return False
