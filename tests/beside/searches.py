"""What is asked of a mailbox of strange mail: SEARCH, SORT and THREAD."""

from __future__ import annotations

from tests.beside.wire import literal

_WORDS = (
    b"alice", b"ALICE", b"north.test", b"Alice A", b"A. Smith", b"quoted", b"inner", b"Carol", b"bob",
    b"J\xc3\xbcrgen", b"j\xc3\xbcrgen", b"\xc3\xa4", b"undisclosed", b"Friends", b"x", b"one", b"two",
    b"a b", b"comment", b"alice@north.test", b"body", b"more text", b"=C3", b"utf-8", b"", b"9999",
    b"word word",
)  # fmt: skip
_NAMES = (
    b"Subject", b"From", b"To", b"Content-Type", b"X-None", b"Message-ID", b"Date", b"MIME-Version", b"X-7",
    b"X", b"sUBJECT", b"In-Reply-To", b"Reply-To", b"Resent-From",
)  # fmt: skip
_KEYS = (b"FROM", b"TO", b"CC", b"BCC", b"SUBJECT", b"BODY", b"TEXT")
_DAYS = (
    b"1-Jan-1970", b"14-Mar-2026", b"15-Mar-2026", b"13-Mar-2026", b"31-Dec-1969", b"1-Jan-1900",
    b"19-Jan-2038", b"31-Dec-9999", b"14-Mar-1999", b"7-Feb-2106",
)  # fmt: skip


def words() -> list[bytes]:
    """Each key for text with each word."""
    return [key + b" " + astring(word) for key in _KEYS for word in _WORDS] + [
        b"HEADER " + name + b" " + astring(word)
        for name in _NAMES
        for word in (b"", b"alice", b"x", b"Sat", b"utf-8", b"<1@x>", b"\xc3\xa4", b"1.0", b"inner", b"a b")
    ]


def astring(word: bytes) -> bytes:
    """A literal where it has to be one."""
    return literal(word) if any(octet > 126 for octet in word) else b'"%b"' % word


DATES = [
    b"%b %b" % (key, day)
    for day in _DAYS
    for key in (b"SENTON", b"SENTBEFORE", b"SENTSINCE", b"ON", b"BEFORE", b"SINCE")
] + [b"OLDER 100", b"YOUNGER 1000000"]

SIZES = [
    b"%b %d" % (key, size)
    for size in (0, 1, 2, 25, 26, 100, 127, 1000, 100_000, 4_294_967_295)
    for key in (b"LARGER", b"SMALLER")
]

SETS = [
    b"ALL", b"1", b"1:5", b"5:1", b"2,4,6:8", b"*", b"1:*", b"*:1", b"*:5", b"1,1,1:2", b"4000", b"1:4000",
    b"4000:*", b"UID 1", b"UID 1:3", b"UID 4000:*", b"UID *:4000", b"UID 4000", b"UID 5:2,9", b"NOT 1:10",
    b"1:10 NOT 3", b"NOT UID 2:*", b"OR 1 2", b"OR 1:3 NOT 1:10", b"OR (1 2) (3 3)", b"(1:5 3:8)",
    b"NOT (1:5)", b"NOT NOT 1:5", b"((1:3))", b"OR OR 1 2 3", b"1:5 2:6 3:7",
]  # fmt: skip

FLAGS = [
    b"SEEN", b"UNSEEN", b"ANSWERED", b"UNANSWERED", b"FLAGGED", b"UNFLAGGED", b"DELETED", b"UNDELETED",
    b"DRAFT", b"UNDRAFT", b"KEYWORD $Label1", b"KEYWORD $LABEL1", b"UNKEYWORD $label1", b"KEYWORD never",
    b"UNKEYWORD never", b"KEYWORD Work", b"KEYWORD work", b"KEYWORD Wor", b"NOT SEEN", b"OR SEEN FLAGGED",
    b"NOT (SEEN FLAGGED)", b"SEEN NOT FLAGGED", b"OR (SEEN DELETED) UNDRAFT", b"SEEN UNSEEN", b"NOT ALL",
    b"OLD", b"NEW", b"RECENT",
]  # fmt: skip

RESULTS = [
    b"RETURN (MIN) ALL", b"RETURN (MAX) 3:9", b"RETURN (COUNT) SEEN", b"RETURN (ALL) 3,5,6,7",
    b"RETURN () 3,5", b"RETURN (MIN MAX COUNT ALL) NOT ALL", b"RETURN (MIN COUNT) DRAFT",
    b"RETURN (SAVE) 5:9", b"$", b"NOT $", b"RETURN (SAVE COUNT) $ 6:20", b"RETURN (ALL) $",
    b"RETURN (MIN SAVE) 4:9", b"UID $",
]  # fmt: skip

SORTS = [
    b"%b%b" % (reverse, key)
    for key in (b"ARRIVAL", b"CC", b"DATE", b"FROM", b"SIZE", b"SUBJECT", b"TO", b"DISPLAYFROM", b"DISPLAYTO")
    for reverse in (b"", b"REVERSE ")
] + [b"SUBJECT REVERSE DATE", b"FROM SUBJECT", b"SIZE REVERSE ARRIVAL", b"REVERSE SUBJECT REVERSE SIZE DATE"]
