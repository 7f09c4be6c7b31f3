"""The table of IMAP's commands: from it parsing, guards, CAPABILITY and the documentation are made.

A row names the command, the states in which it is allowed, the function that reads its arguments into
a command value, whether it also stands behind `UID`, the capability that announces it, and where it is
specified.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from posthouse.protocol.imap import arguments, search_arguments
from posthouse.protocol.imap.commands import (
    Capability,
    Check,
    Close,
    Copy,
    Delete,
    DeleteAcl,
    Fetch,
    GetAcl,
    GetQuotaRoot,
    Idle,
    ListRights,
    Logout,
    Move,
    MyRights,
    Namespace,
    Noop,
    StartTls,
    Subscribe,
    Unauthenticate,
    Unselect,
    Unsubscribe,
)
from posthouse.protocol.imap.fetching import Item, known_items
from posthouse.protocol.imap.sequence import SequenceSet
from posthouse.protocol.imap.syntax import ATOM, TAG, Parser, SyntaxProblem


class State(Enum):
    """The states of a session (RFC 3501 §3)."""

    NOT_AUTHENTICATED = 1
    AUTHENTICATED = 2
    SELECTED = 3

    __hash__ = object.__hash__  # that of an Enum is made of its name, anew for each command


class Verb(NamedTuple):
    name: str
    states: frozenset[State]
    read: arguments.Reader
    """Arguments → command; the flag says that the command stood behind UID."""
    rfc: str
    capability: str = ""
    """Names that CAPABILITY lists for it, parted by spaces."""
    uid: bool = False
    """Stands behind UID too."""


_ANY = frozenset(State)
_BEFORE = frozenset({State.NOT_AUTHENTICATED})
_AFTER = frozenset({State.AUTHENTICATED, State.SELECTED})
_IN = frozenset({State.SELECTED})

VERBS = (
    Verb("CAPABILITY", _ANY, arguments.nothing(Capability), "RFC 3501 §6.1.1"),
    Verb("NOOP", _ANY, arguments.nothing(Noop), "RFC 3501 §6.1.2"),
    Verb("LOGOUT", _ANY, arguments.nothing(Logout), "RFC 3501 §6.1.3"),
    Verb("ID", _ANY, arguments.client_id, "RFC 2971 §3.1", "ID"),
    Verb("STARTTLS", _BEFORE, arguments.nothing(StartTls), "RFC 3501 §6.2.1"),
    Verb("AUTHENTICATE", _BEFORE, arguments.authenticate, "RFC 3501 §6.2.2", "SASL-IR"),
    Verb("LOGIN", _BEFORE, arguments.login, "RFC 3501 §6.2.3"),
    Verb("UNAUTHENTICATE", _AFTER, arguments.nothing(Unauthenticate), "RFC 8437 §2"),
    Verb("COMPRESS", _AFTER, arguments.compress, "RFC 4978 §3"),
    Verb("LANGUAGE", _ANY, arguments.language, "RFC 5255 §3.2", "LANGUAGE"),
    Verb("COMPARATOR", _AFTER, arguments.comparator, "RFC 5255 §4.7", "I18NLEVEL=2"),
    Verb("ENABLE", _AFTER, arguments.enable, "RFC 5161 §3.1", "ENABLE"),
    Verb("NAMESPACE", _AFTER, arguments.nothing(Namespace), "RFC 2342 §5", "NAMESPACE"),
    Verb("SELECT", _AFTER, arguments.select, "RFC 3501 §6.3.1, RFC 7162 §3.2.5", "CONDSTORE QRESYNC"),
    Verb("EXAMINE", _AFTER, arguments.examine, "RFC 3501 §6.3.2, RFC 7162 §3.2.5"),
    Verb("CREATE", _AFTER, arguments.create, "RFC 3501 §6.3.3, RFC 6154 §3", "CREATE-SPECIAL-USE"),
    Verb("DELETE", _AFTER, arguments.one_mailbox(Delete), "RFC 3501 §6.3.4"),
    Verb("RENAME", _AFTER, arguments.rename, "RFC 3501 §6.3.5"),
    Verb("SUBSCRIBE", _AFTER, arguments.one_mailbox(Subscribe), "RFC 3501 §6.3.6"),
    Verb("UNSUBSCRIBE", _AFTER, arguments.one_mailbox(Unsubscribe), "RFC 3501 §6.3.7"),
    Verb("LIST", _AFTER, arguments.listing, "RFC 3501 §6.3.8, RFC 5258 §3",
         "CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE"),
    Verb("LSUB", _AFTER, arguments.lsub, "RFC 3501 §6.3.9"),
    Verb("STATUS", _AFTER, arguments.status, "RFC 3501 §6.3.10, RFC 7889 §3.1, RFC 8438 §2", "STATUS=SIZE"),
    Verb("GETMETADATA", _AFTER, arguments.get_metadata, "RFC 5464 §4.2, RFC 9590 §3",
         "METADATA LIST-METADATA"),
    Verb("SETMETADATA", _AFTER, arguments.set_metadata, "RFC 5464 §4.3"),
    Verb("SETACL", _AFTER, arguments.set_acl, "RFC 4314 §3.1", "ACL RIGHTS=kxte"),
    Verb("DELETEACL", _AFTER, arguments.mailbox_and_identifier(DeleteAcl), "RFC 4314 §3.2"),
    Verb("GETACL", _AFTER, arguments.one_mailbox(GetAcl), "RFC 4314 §3.3"),
    Verb("LISTRIGHTS", _AFTER, arguments.mailbox_and_identifier(ListRights), "RFC 4314 §3.4"),
    Verb("MYRIGHTS", _AFTER, arguments.one_mailbox(MyRights), "RFC 4314 §3.5, RFC 8440 §3", "LIST-MYRIGHTS"),
    Verb("GETQUOTA", _AFTER, arguments.get_quota, "RFC 9208 §4.1.1", "QUOTA QUOTA=RES-STORAGE"),
    Verb("GETQUOTAROOT", _AFTER, arguments.one_mailbox(GetQuotaRoot), "RFC 9208 §4.1.2"),
    Verb("GENURLAUTH", _AFTER, arguments.gen_url_auth, "RFC 4467 §7", "URLAUTH"),
    Verb("RESETKEY", _AFTER, arguments.reset_key, "RFC 4467 §7"),
    Verb("URLFETCH", _AFTER, arguments.url_fetch, "RFC 4467 §7"),
    Verb("APPEND", _AFTER, arguments.append, "RFC 3501 §6.3.11, RFC 3502 §6.3.11, RFC 4469 §3",
         "MULTIAPPEND CATENATE"),
    Verb("NOTIFY", _AFTER, arguments.notify, "RFC 5465 §3", "NOTIFY"),
    Verb("IDLE", _AFTER, arguments.nothing(Idle), "RFC 2177 §3", "IDLE"),
    Verb("CHECK", _IN, arguments.nothing(Check), "RFC 3501 §6.4.1"),
    Verb("CLOSE", _IN, arguments.nothing(Close), "RFC 3501 §6.4.2"),
    Verb("UNSELECT", _IN, arguments.nothing(Unselect), "RFC 3691 §2", "UNSELECT"),
    Verb("EXPUNGE", _IN, arguments.expunge, "RFC 3501 §6.4.3, RFC 4315 §2.1", "UIDPLUS", True),
    Verb("SEARCH", _IN, search_arguments.search, "RFC 3501 §6.4.4, RFC 4731 §3, RFC 5182 §2, RFC 9394 §3",
         "ESEARCH SEARCHRES PARTIAL", True),
    Verb("ESEARCH", _AFTER, search_arguments.multi_search, "RFC 7377 §2", "MULTISEARCH"),
    Verb("SORT", _IN, search_arguments.sort, "RFC 5256 §3, RFC 5267 §3, RFC 5957 §3",
         "SORT SORT=DISPLAY ESORT CONTEXT=SEARCH CONTEXT=SORT", True),
    Verb("CANCELUPDATE", _IN, search_arguments.cancel_update, "RFC 5267 §4.3.5"),
    Verb("THREAD", _IN, search_arguments.thread, "RFC 5256 §3",
         "THREAD=ORDEREDSUBJECT THREAD=REFERENCES", True),
    Verb("FETCH", _IN, arguments.fetch, "RFC 3501 §6.4.5, RFC 3516 §4, RFC 7162 §3.1.4, RFC 8970 §3",
         "BINARY PREVIEW", True),
    Verb("STORE", _IN, arguments.store, "RFC 3501 §6.4.6, RFC 7162 §3.1.3", "", True),
    Verb("COPY", _IN, arguments.to_mailbox(Copy), "RFC 3501 §6.4.7", "", True),
    Verb("REPLACE", _IN, arguments.replace, "RFC 8508 §3", "REPLACE", True),
    Verb("MOVE", _IN, arguments.to_mailbox(Move), "RFC 6851 §3", "MOVE", True),
)  # fmt: skip

BY_NAME = {verb.name: verb for verb in VERBS}
UID_COMMANDS = {verb.name: verb for verb in VERBS if verb.uid}

CAPABILITIES = (
    "IMAP4rev1",
    "IMAP4rev2",  # RFC 9051
    "LITERAL+",  # RFC 7888
    "OBJECTID",  # RFC 8474
    "SAVEDATE",  # RFC 8514
    "WITHIN",  # RFC 5032
    "SEARCH=FUZZY",  # RFC 6203
    "FILTERS",  # RFC 5466
    "UTF8=ACCEPT",  # RFC 6855
    "UIDONLY",  # RFC 9586
    "INPROGRESS",  # RFC 9585
    *dict.fromkeys(name for verb in VERBS for name in verb.capability.split()),
)
"""What CAPABILITY lists whatever the state; AUTH=, STARTTLS and LOGINDISABLED come and go."""


class Head(NamedTuple):
    """The beginning of a command: its tag, its row of the table, and where its arguments begin."""

    tag: bytes
    verb: Verb
    uid: bool
    position: int


_HEAD = re.compile(rb"(%b) (?:([Uu][Ii][Dd]) )?(%b)" % (TAG, ATOM))


def read_head(octets: bytes) -> Head:
    """Tag and name of a command. SyntaxProblem where the name is unknown."""
    found = _HEAD.match(octets)
    if found is not None:
        tag, uid, name = found.groups()
        verb = (UID_COMMANDS if uid else BY_NAME).get(name.decode("ascii").upper())
        if verb is not None:
            return Head(tag, verb, uid is not None, found.end())
    raise _unreadable(octets)


_FETCH_ONE = re.compile(rb"(%b) ([Uu][Ii][Dd] )?[Ff][Ee][Tt][Cc][Hh] ([1-9][0-9]{0,8}) " % TAG)


def read_fetch_of_one(octets: bytes) -> tuple[bytes, Fetch] | None:
    """Tag and command, where it is a FETCH of one message with nothing but items, none of which is MODSEQ.

    Mail programs say this again and again, so it is read at one go. None: read it as any other.
    """
    found = _FETCH_ONE.match(octets)
    items = known_items(octets[found.end() :]) if found is not None else None
    if found is None or items is None or Item.MODSEQ in items:
        return None
    tag, uid, digits = found.groups()
    number = int(digits)
    return tag, Fetch(SequenceSet(((number, number),)), items, uid is not None)


def _unreadable(octets: bytes) -> SyntaxProblem:
    """What is wrong with a command that has no head."""
    parser = Parser(octets)
    try:
        parser.tag()
        parser.space()
        name = parser.word()
        if name == "UID":
            parser.space()
            name = f"UID {parser.word()}"
    except SyntaxProblem as problem:
        return problem
    return SyntaxProblem(f"Unknown command {name}")
