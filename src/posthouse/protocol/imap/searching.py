"""What SEARCH asks for: its keys as a tree (RFC 3501 §6.4.4).

The tree says what is sought, not how: `access` evaluates it over a mailbox. All strings are decoded
from the charset of the command; the number of keys is bounded, and so is the depth of the tree, which is no
deeper than it must be.
"""

from __future__ import annotations

import codecs
import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias

from posthouse.mail.collation import DEFAULT, Comparator
from posthouse.protocol.imap.sequence import LARGEST, SAVED, SequenceSet
from posthouse.protocol.imap.syntax import Parser, SyntaxProblem

DEEPEST = 50
"""Levels of the tree; parentheses and NOT that change nothing make none."""
MOST_KEYS = 2000
CHARSETS = ("US-ASCII", "UTF-8", "ISO-8859-1", "ISO-8859-15", "WINDOWS-1252", "KOI8-R", "ISO-2022-JP")
"""Charsets in which a client may write its strings, as BADCHARSET lists them."""


class UnknownCharset(ValueError):
    """Answered with NO [BADCHARSET …] (RFC 3501 §6.4.4)."""


class FilterCharset(ValueError):
    """Answered with BAD [BADCHARSET …]: what FILTER stands for is in UTF-8 (RFC 5466 §3.1)."""


class Day(Enum):
    """How the day of a message is compared."""

    BEFORE = "BEFORE"
    ON = "ON"
    SINCE = "SINCE"


class All(NamedTuple):
    """Every message."""


class And(NamedTuple):
    keys: tuple[SearchKey, ...]


class Or(NamedTuple):
    one: SearchKey
    other: SearchKey


class Not(NamedTuple):
    key: SearchKey


class Numbers(NamedTuple):
    """Messages by sequence number."""

    numbers: SequenceSet


class Uids(NamedTuple):
    uids: SequenceSet


class HasFlag(NamedTuple):
    """A system flag, `\\Recent`, or a keyword (whatever its case)."""

    flag: str


class InternalDate(NamedTuple):
    """The internal date, without time and zone."""

    how: Day
    date: datetime.date


class SavedDate(NamedTuple):
    """The day on which the message came into the mailbox (RFC 8514 §4.3)."""

    how: Day
    date: datetime.date


class Age(NamedTuple):
    """Seconds since the internal date (RFC 5032 §3): at least so many, or no more."""

    seconds: int
    older: bool


class SentDate(NamedTuple):
    """The Date field, without time and zone."""

    how: Day
    date: datetime.date


class Larger(NamedTuple):
    octets: int


class Smaller(NamedTuple):
    octets: int


class ModSeq(NamedTuple):
    """Changed by this modseq or later (RFC 7162 §3.1.5); it is kept per message, not per flag."""

    modseq: int


class ObjectId(NamedTuple):
    """A message by its EMAILID or THREADID (RFC 8474 §6); the case of `id` counts."""

    name: str
    id: str


class InHeader(NamedTuple):
    """A header field that contains `text`; empty `text`: the field is there. `name` in lower case."""

    name: str
    text: str


class InBody(NamedTuple):
    text: str


class InText(NamedTuple):
    """In the header or the body."""

    text: str


class Compared(NamedTuple):
    """A string is there by another comparator than the default; never asked for by a client itself."""

    key: InHeader | InBody | InText
    comparator: Comparator


class Fuzzy(NamedTuple):
    """As `key`, and what is like it (RFC 6203 §3)."""

    key: SearchKey


class Filter(NamedTuple):
    """The search that is kept under this name (RFC 5466 §3.1)."""

    name: str


class UnknownStrings(NamedTuple):
    """In place of keys whose charset is unknown, where the search must fail later than that."""


class Among(NamedTuple):
    """Messages by their emails, as the full-text index has found them. No client asks for it."""

    emails: frozenset[int]


SearchKey: TypeAlias = (
    All | And | Or | Not | Numbers | Uids | HasFlag | InternalDate | SavedDate | Age | SentDate | Larger
    | Smaller | ModSeq | ObjectId | InHeader | InBody | InText | Compared | Fuzzy | Filter | Among
    | UnknownStrings
)  # fmt: skip


def leaves(key: SearchKey) -> Iterator[SearchKey]:
    """The keys that say something themselves, without what joins them."""
    match key:
        case And(keys):
            for part in keys:
                yield from leaves(part)
        case Or(one, other):
            yield from leaves(one)
            yield from leaves(other)
        case Not(inner) | Fuzzy(inner):
            yield from leaves(inner)
        case _:
            yield key


def changed(key: SearchKey, change: Callable[[SearchKey], SearchKey]) -> SearchKey:
    """The same tree with other leaves; FUZZY is a leaf here."""
    match key:
        case And(keys):
            return And(tuple(changed(part, change) for part in keys))
        case Or(one, other):
            return Or(changed(one, change), changed(other, change))
        case Not(inner):
            return Not(changed(inner, change))
    return change(key)


def is_fuzzy(key: SearchKey) -> bool:
    """Whether anything is sought that is only alike."""
    match key:
        case And(keys):
            return any(map(is_fuzzy, keys))
        case Or(one, other):
            return is_fuzzy(one) or is_fuzzy(other)
        case Not(inner):
            return is_fuzzy(inner)
    return isinstance(key, Fuzzy)


def exact(key: SearchKey) -> SearchKey:
    """The tree without FUZZY."""
    return changed(key, lambda leaf: exact(leaf.key) if isinstance(leaf, Fuzzy) else leaf)


def compared(key: SearchKey, comparator: Comparator) -> SearchKey:
    """The tree where strings are compared so (RFC 5255 §4.2); what the default finds holds it all."""

    def change(leaf: SearchKey) -> SearchKey:
        if isinstance(leaf, InHeader | InBody | InText) and leaf.text:
            return And((leaf, Compared(leaf, comparator)))
        return leaf

    return key if comparator is DEFAULT else changed(key, change)


Near: TypeAlias = Mapping[str, Sequence[tuple[str, ...]]]
"""What else a word may be: each a choice of strings that are there together."""


def fuzzy_words(key: SearchKey) -> frozenset[str]:
    """The words that are sought by FUZZY, as the client wrote them."""
    match key:
        case And(keys):
            return frozenset().union(*map(fuzzy_words, keys))
        case Or(one, other):
            return fuzzy_words(one) | fuzzy_words(other)
        case Not(inner):
            return fuzzy_words(inner)
        case Fuzzy(inner):
            texts = [leaf.text for leaf in leaves(inner) if isinstance(leaf, InHeader | InBody | InText)]
            return frozenset(word for text in texts for word in text.split())
    return frozenset()


def loose(key: SearchKey, near: Near) -> SearchKey:
    """FUZZY spelled out: the words of a text, or what is near, in any order, whatever their endings."""

    def loosened(leaf: SearchKey) -> SearchKey:
        if isinstance(leaf, Fuzzy):
            return changed(exact(leaf.key), lambda inner: _loosened(inner, near))
        return leaf

    return changed(key, loosened)


def _loosened(leaf: SearchKey, near: Near) -> SearchKey:
    match leaf:
        case InHeader(text=text) | InBody(text) | InText(text) if words := text.split():
            return And(tuple(_choices(leaf, word, near.get(word, ())) for word in words))
    return leaf


def _choices(leaf: InHeader | InBody | InText, word: str, others: Sequence[tuple[str, ...]]) -> SearchKey:
    key: SearchKey = leaf._replace(text=stem(word))
    for together in others:
        parts = tuple(leaf._replace(text=text) for text in together)
        key = Or(key, parts[0] if len(parts) == 1 else And(parts))
    return key


def stem(word: str) -> str:
    """A word without its ending, as far as that can be told: of a long one the last two letters."""
    return word[: max(5, len(word) - 2)] if word.isalpha() and word.isascii() else word


def filters(key: SearchKey) -> frozenset[str]:
    """The names of filters that are sought by."""
    return frozenset(leaf.name for leaf in leaves(key) if isinstance(leaf, Filter))


def with_filters(key: SearchKey, meaning: Mapping[str, SearchKey]) -> SearchKey:
    """The tree with filters in full."""

    def change(leaf: SearchKey) -> SearchKey:
        if isinstance(leaf, Fuzzy):
            return Fuzzy(with_filters(leaf.key, meaning))
        return meaning[leaf.name] if isinstance(leaf, Filter) else leaf

    return changed(key, change)


def numbered(key: SearchKey) -> bool:
    """Whether messages are named by sequence number."""
    return any(isinstance(leaf, Numbers) and leaf.numbers != SAVED for leaf in leaves(key))


def uses_saved(key: SearchKey) -> bool:
    """Whether messages are named by `$`."""
    return any(
        (isinstance(leaf, Numbers) and leaf.numbers.has_saved)
        or (isinstance(leaf, Uids) and leaf.uids.has_saved)
        for leaf in leaves(key)
    )


def seeks_modseq(key: SearchKey) -> bool:
    """Whether messages are sought by modseq."""
    return any(isinstance(leaf, ModSeq) for leaf in leaves(key))


def thread_ids(key: SearchKey) -> frozenset[str]:
    """The THREADIDs that are sought."""
    return frozenset(
        leaf.id for leaf in leaves(key) if isinstance(leaf, ObjectId) and leaf.name == "THREADID"
    )


_FIXED: dict[str, SearchKey] = {
    "ALL": All(),
    "ANSWERED": HasFlag("\\Answered"),
    "DELETED": HasFlag("\\Deleted"),
    "DRAFT": HasFlag("\\Draft"),
    "FLAGGED": HasFlag("\\Flagged"),
    "RECENT": HasFlag("\\Recent"),
    "SAVEDATESUPPORTED": All(),  # RFC 8514 §4.3: of every mailbox
    "SEEN": HasFlag("\\Seen"),
    "UNANSWERED": Not(HasFlag("\\Answered")),
    "UNDELETED": Not(HasFlag("\\Deleted")),
    "UNDRAFT": Not(HasFlag("\\Draft")),
    "UNFLAGGED": Not(HasFlag("\\Flagged")),
    "UNSEEN": Not(HasFlag("\\Seen")),
    "NEW": And((HasFlag("\\Recent"), Not(HasFlag("\\Seen")))),
    "OLD": Not(HasFlag("\\Recent")),
}


_MADE_OF = {"FUZZY": 1, "NOT": 1, "OR": 2}
"""Keys that are made of others, and of how many."""
_LIST = "("


class _Part(NamedTuple):
    """A key, and how many levels it has below it."""

    key: SearchKey
    depth: int = 0


class _Open:
    """A key that is made of others, of which not all have been read."""

    __slots__ = ("name", "parts", "wanted")

    def __init__(self, name: str) -> None:
        self.name = name
        self.parts: list[_Part] = []
        self.wanted = _MADE_OF.get(name, 0)

    def made(self) -> _Part:
        """The key. Raises SyntaxProblem where it is too deep."""
        part = self._made()
        if part.depth > DEEPEST:
            raise SyntaxProblem(_TOO_COMPLEX)
        return part

    def _made(self) -> _Part:
        inner, depth = self.parts[0]
        match self.name:
            case "NOT" if isinstance(inner, Not):
                return _Part(inner.key, depth - 1)
            case "NOT":
                return _Part(Not(inner), depth + 1)
            case "FUZZY":
                return _Part(inner, depth) if isinstance(inner, Fuzzy) else _Part(Fuzzy(inner), depth + 1)
            case "OR":
                deepest = max(part.depth for part in self.parts)
                return _Part(
                    _one_of([part.key for part in self.parts]), deepest + len(self.parts).bit_length()
                )
        return _together(self.parts)


_TOO_COMPLEX = "The search is too complex"


class Keys:
    """Parses the keys of one SEARCH. `charset` holds for all its strings.

    Where it is empty they are in UTF-8: RFC 9051 §6.4.4 says so, and so do IMAP4rev1 clients that forget
    CHARSET, for whom RFC 3501 §6.4.4 knows nothing but US-ASCII.
    """

    __slots__ = ("_charset", "_codec", "_count", "_parser")

    def __init__(self, parser: Parser, charset: str) -> None:
        self._charset = charset.upper()
        if charset and self._charset not in CHARSETS:
            raise UnknownCharset(charset)
        self._codec = codecs.lookup(charset or "UTF-8").name
        self._parser = parser
        self._count = 0

    def all_of(self) -> SearchKey:
        """All keys up to the end of the command, every one of which must hold. Raises FilterCharset too."""
        parts = [self._key()]
        while not self._parser.at_end():
            self._parser.space()
            parts.append(self._key())
        key = _together(parts).key
        if self._charset not in ("", "US-ASCII", "UTF-8") and filters(key):
            raise FilterCharset
        return key

    def _key(self) -> _Part:
        """One key. What it is within is kept in a list, so it may be as deep as the command is long."""
        within: list[_Open] = []
        while True:
            part = self._begun(within)
            while part is not None:
                if not within:
                    return part
                part = self._taken(within, part)

    def _begun(self, within: list[_Open]) -> _Part | None:
        """The next key; None where that is made of others, which come behind it."""
        self._count += 1
        if self._count > MOST_KEYS:
            raise SyntaxProblem(_TOO_COMPLEX)
        parser = self._parser
        if parser.skip(b"("):
            if parser.next_is(b")"):
                raise SyntaxProblem("The list must not be empty")
            within.append(_Open(_LIST))
            return None
        if parser.at_sequence_set():
            return _Part(Numbers(parser.sequence_set()))
        name = parser.word()
        if (fixed := _FIXED.get(name)) is not None:
            return _Part(fixed)
        if name in _MADE_OF:
            parser.space()
            within.append(_Open(name))
            return None
        read = _WITH_ARGUMENTS.get(name)
        if read is None:
            raise SyntaxProblem(f"Unknown search key {name}")
        parser.space()
        return _Part(read(self))

    def _taken(self, within: list[_Open], part: _Part) -> _Part | None:
        """Add a key to what it is within; that, if it is complete with it."""
        last = within[-1]
        last.parts.append(part)
        if last.name == _LIST:
            complete = self._parser.skip(b")")
        else:
            complete = len(last.parts) == last.wanted
        if not complete:
            self._parser.space()
            return None
        within.pop()
        if last.name == "OR" and within and within[-1].name == "OR":
            # One choice among many: clients that seek hundreds of things write it so.
            within[-1].parts += last.parts[:-1]
            within[-1].wanted += len(last.parts) - 1
            return part
        return last.made()

    def _text(self) -> str:
        octets = self._parser.astring()
        try:
            return octets.decode(self._codec)
        except UnicodeDecodeError:
            raise SyntaxProblem("A string is not in the charset of the search") from None

    def _filter_name(self) -> str:
        name = self._parser.atom().decode("ascii")
        if "/" in name:
            raise SyntaxProblem("No filter has a slash in its name")  # RFC 5466 §3.5
        return name

    def _keyword(self) -> SearchKey:
        return HasFlag(self._parser.atom().decode("ascii"))

    def _not_keyword(self) -> SearchKey:
        return Not(self._keyword())

    def _header(self) -> SearchKey:
        name = self._text().lower()
        self._parser.space()
        return InHeader(name, self._text())

    def _modseq(self) -> SearchKey:
        parser = self._parser
        if parser.at_string():
            parser.string()  # RFC 7162 §3.1.5: an entry name, which we need not tell apart
            parser.space()
            if parser.word() not in ("PRIV", "SHARED", "ALL"):
                raise SyntaxProblem("Expected priv, shared or all")
            parser.space()
        return ModSeq(parser.number64())


def _together(parts: Sequence[_Part]) -> _Part:
    """All of some keys; lists within a list are one."""
    if len(parts) == 1:
        return parts[0]
    keys = [one for key, _ in parts for one in (key.keys if isinstance(key, And) else (key,))]
    return _Part(And(tuple(keys)), max(depth + (not isinstance(key, And)) for key, depth in parts))


def _one_of(choices: list[SearchKey]) -> SearchKey:
    """A tree of `Or` no deeper than it must be."""
    if len(choices) == 1:
        return choices[0]
    middle = len(choices) // 2
    return Or(_one_of(choices[:middle]), _one_of(choices[middle:]))


def _in_field(name: str) -> Callable[[Keys], SearchKey]:
    return lambda keys: InHeader(name, keys._text())


def _object_id(name: str) -> Callable[[Keys], SearchKey]:
    return lambda keys: ObjectId(name, keys._parser.atom().decode("ascii"))


def _age(*, older: bool) -> Callable[[Keys], SearchKey]:
    def read(keys: Keys) -> SearchKey:
        seconds = keys._parser.number64()
        if seconds == 0:
            raise SyntaxProblem("An age is one second at least")
        return Age(seconds, older)

    return read


def _beside(*, after: bool) -> Callable[[Keys], SearchKey]:
    """UIDAFTER and UIDBEFORE (RFC 9738 §3.2): the UIDs above one, or below."""

    def read(keys: Keys) -> SearchKey:
        numbers = keys._parser.number_set()
        if len(numbers.ranges) != 1 or numbers.ranges[0][0] != numbers.ranges[0][1]:
            raise SyntaxProblem("Expected one UID")
        uid = numbers.ranges[0][0]
        first, last = (uid + 1, LARGEST) if after else (1, uid - 1)
        return Uids(SequenceSet(((first, last),))) if first <= last else Not(All())

    return read


def _internal(how: Day) -> Callable[[Keys], SearchKey]:
    return lambda keys: InternalDate(how, keys._parser.date())


def _saved(how: Day) -> Callable[[Keys], SearchKey]:
    return lambda keys: SavedDate(how, keys._parser.date())


def _sent(how: Day) -> Callable[[Keys], SearchKey]:
    return lambda keys: SentDate(how, keys._parser.date())


_WITH_ARGUMENTS: dict[str, Callable[[Keys], SearchKey]] = {
    "BCC": _in_field("bcc"),
    "BEFORE": _internal(Day.BEFORE),
    "BODY": lambda keys: InBody(keys._text()),
    "CC": _in_field("cc"),
    "EMAILID": _object_id("EMAILID"),
    "FILTER": lambda keys: Filter(keys._filter_name()),
    "FROM": _in_field("from"),
    "HEADER": Keys._header,
    "KEYWORD": Keys._keyword,
    "LARGER": lambda keys: Larger(keys._parser.number64()),
    "MODSEQ": Keys._modseq,
    "OLDER": _age(older=True),
    "ON": _internal(Day.ON),
    "SAVEDBEFORE": _saved(Day.BEFORE),
    "SAVEDON": _saved(Day.ON),
    "SAVEDSINCE": _saved(Day.SINCE),
    "SENTBEFORE": _sent(Day.BEFORE),
    "SENTON": _sent(Day.ON),
    "SENTSINCE": _sent(Day.SINCE),
    "SINCE": _internal(Day.SINCE),
    "SMALLER": lambda keys: Smaller(keys._parser.number64()),
    "SUBJECT": _in_field("subject"),
    "TEXT": lambda keys: InText(keys._text()),
    "THREADID": _object_id("THREADID"),
    "TO": _in_field("to"),
    "UID": lambda keys: Uids(keys._parser.sequence_set()),
    "UIDAFTER": _beside(after=True),
    "UIDBEFORE": _beside(after=False),
    "UNKEYWORD": Keys._not_keyword,
    "YOUNGER": _age(older=False),
}
