"""SEARCH, SORT and THREAD over strange mail find what they find in Dovecot; what differs has a reason."""

from __future__ import annotations

import re
from random import Random

import pytest

from tests.beside import searches
from tests.beside.fetched import fill
from tests.beside.letters import CORPUS, DATES, NESTED
from tests.beside.wire import Answer, Pair, literal

pytestmark = pytest.mark.debian("dovecot", "dovecot-pop3d")

NAMES = tuple(CORPUS)
KNOWN = (
    (
        "A field is searched as it is written, with its comments, even where no address can be made of it."
        " Dovecot searches what it made of it, also names that it invented, and addresses without comments.",
        "FROM",
        r"address .*",
    ),
    (
        "Octets beyond ASCII of which nobody says what they are count as UTF-8 or Windows-1252."
        " Dovecot finds none.",
        "",
        "8-bit|address 'J\xfcrgen.*|type .*[\xe4\xf6].*",
    ),
    (
        "White space of any kind and length is one space, for mail is wrapped at the sender's pleasure.",
        "",
        "CR alone in the header|folded in vain|tabs in the subject|white space at the ends|type .*a .t  b'",
    ),
    ("An encoded word that is none (RFC 2047 §2: no spaces) is text.", "", "encoded words"),
    (
        "The header of a letter within is part of the body of that without; and names and descriptions of"
        " parts, which readers see.",
        "BODY",
        "|".join(map(re.escape, (*NESTED, "every field"))),
    ),
    (
        "RFC 2045 §5.2, §6.4: what cannot be read is text. Dovecot does not look at types that it"
        " does not know.",
        "BODY|TEXT",
        "type .*|two Content-Types|unknown encoding|none|extended .RFC 2231.",
    ),
    ("RFC 5322 §2.2: a lone CR ends no line, so that no line is empty.", "BODY", "CR CR LF"),
)
UNREADABLE_DATES = {
    "date 'Sat, 14 Mar 126 15:09:26 +0000'": "RFC 5322 §4.3: it counts from 1900.",
    "date 'Sat Mar 14 15:09:26 2026'": "What C's asctime writes. Dovecot reads no date.",
    "date 'Sat, 14-Mar-2026 15:09:26 +0000'": "What old programs write. Dovecot reads no date.",
    "date 'Sat, 14 Mar 2026 24:00:00 +0000'": "The day is plain. Dovecot reads no date.",
    "date 'Sat, 14 Mar 2026 25:61:61 +0000'": "The same.",
    "date 'Thu, 01 Jan 1970 00:00:00 +0100'": "RFC 9051 §6.4.4: the zone does not count.",
    "date 'Wed, 31 Dec 1969 23:59:59 +0000'": "Before 1970 Dovecot knows no date.",
    "date 'Mon, 01 Jan 1900 00:00:00 +0000'": "The same.",
    "date 'Fri, 31 Dec 9999 23:59:59 +0000'": "Dovecot knows no date beyond 2106.",
    "date 'Sun, 07 Feb 2106 06:28:16 +0000'": "The same.",
    "date 'garbage'": "What is no date is before or since none. Dovecot takes 1 January 1970 for it.",
    "date ''": "The same.",
    "date 'Sat, 31 Feb 2026 15:09:26 +0000'": "The same.",
    "date 'Sat, 00 Mar 2026 15:09:26 +0000'": "The same.",
    "date '2026-03-14T15:09:26Z'": "The same.",
    "date 'Sat, 14 Mar 2026'": "The same.",
    "date '14/03/2026 15:09'": "The same.",
}


@pytest.fixture
def corpus(imap: Pair) -> Pair:
    """A session with all letters, some of which have flags."""
    fill(imap, CORPUS.values())
    imap.do(b"SELECT INBOX")
    for change in (
        b"1:50 +FLAGS (\\Seen)",
        b"20:70 +FLAGS (\\Flagged $Label1)",
        b"60:65 +FLAGS (\\Answered Work)",
        b"64:80 +FLAGS (\\Draft \\Deleted)",
    ):
        imap.do(b"STORE " + change)
    return imap


def numbers(answer: Answer) -> list[str]:
    """What a SEARCH or SORT has found."""
    assert answer.condition == "OK", answer
    (found,) = [one for one in answer.untagged if one[0] in ("SEARCH", "SORT")]
    return found[1:]


def differing(pair: Pair, command: bytes) -> set[str]:
    """The names of letters that only one of the servers finds."""
    ours, theirs = (set(numbers(answer)) for answer in pair.do(command))
    return {NAMES[int(number) - 1] for number in ours ^ theirs}


def test_words_are_found_where_dovecot_finds_them(corpus: Pair) -> None:
    used, unknown, missed = set(), [], set()
    for key in searches.words():
        ours, theirs = (set(numbers(answer)) for answer in corpus.do(b"SEARCH CHARSET UTF-8 " + key))
        if not key.startswith(b"FROM"):
            missed |= theirs - ours
        for name in (NAMES[int(number) - 1] for number in ours ^ theirs):
            reasons = [
                reason
                for reason, keys, letters in KNOWN
                if re.match(keys, key.decode("latin-1")) and re.fullmatch(letters, name, re.DOTALL)
            ]
            used.update(reasons[:1])
            if not reasons:
                unknown.append((key, name))
    assert not unknown
    assert used == {reason for reason, _, _ in KNOWN}
    # but for addresses that Dovecot made up, nothing is missed that it finds
    assert {NAMES[int(number) - 1] for number in missed} == {"CR CR LF"}


@pytest.mark.parametrize("kind", ["sizes", "sets", "flags"])
def test_numbers_sizes_and_flags(corpus: Pair, kind: str) -> None:
    keys = {"sizes": searches.SIZES, "sets": searches.SETS, "flags": searches.FLAGS}[kind]
    for key in keys:
        names = differing(corpus, b"SEARCH " + key)
        ours, theirs = map(numbers, corpus.do(b"UID SEARCH " + key))
        if key == b"LARGER 26":
            assert names == {"CR alone"}, "Dovecot loses the CR at its end"
        elif key == b"4000:*":
            # RFC 9051 §9, seq-range: the last message is in it, whichever end it is
            assert names == {NAMES[-1]}
            assert (ours, theirs) == ([str(len(NAMES))], [])
        else:
            assert not names, key
            assert ours == theirs


def test_results_that_are_returned_and_saved(corpus: Pair) -> None:
    for key in searches.RESULTS:
        for command in (b"SEARCH ", b"UID SEARCH "):
            ours, theirs = corpus.do(command + key)
            assert (ours.condition, ours.untagged) == (theirs.condition, theirs.untagged), command + key


def test_dates_are_days_as_they_are_written(imap: Pair) -> None:
    fill(imap, DATES.values())
    imap.do(b"SELECT INBOX")
    names, found = tuple(DATES), set()
    for key in searches.DATES:
        ours, theirs = (set(numbers(answer)) for answer in imap.do(b"SEARCH " + key))
        found |= {names[int(number) - 1] for number in ours ^ theirs}
    assert found == set(UNREADABLE_DATES)


def plain(subject: str, sender: str, to: str, cc: str, day: int, size: int) -> bytes:
    head = f"Subject: {subject}\r\nFrom: {sender}\r\nTo: {to}\r\nCc: {cc}\r\n"
    date = f"Date: {day % 28 + 1} Mar 2026 {day % 24:02}:09:26 {'+-'[day % 2]}0{day % 10}00\r\n"
    return (head + date + "\r\n" + "x" * size + "\r\n").encode()


SUBJECTS = (
    "a", "Re: a", "b", "B", "RE: re : b", "Fwd: a", "[list] a", "[list]", "Re:", "a (fwd)", "[fwd: a]",
    "(fwd)", "", "=?utf-8?q?Re=3A_a?=", "c  d", "Re[2]: a", "Re: [list] [other] b", "FW: c d", "_a", "^b",
    "~z", "Zebra", "1", "10", "\u00e4", "\u00c4b", "=?utf-8?q?=C3=A4a?=", "Aw: a", "a re: b", "[a] b [c]",
    "Re: Re[3]: fw: [x] [fwd: c (fwd)]",
)  # fmt: skip
PEOPLE = (
    "alice@north.test", "Alice <alice@south.test>", "Bob <alice@a.test>", "carol@x.test (A. Carol)",
    "_x@y.test", '"Zed, A." <zed@x.test>', "=?utf-8?q?=C3=84rzte?= <a@x.test>", "ALICE@north.test",
    "group: b@x.test, c@x.test;", '"[x]" <b@y.test>', "bob@x.test, alice@x.test",
    "undisclosed-recipients:;", "",
)  # fmt: skip


def test_sort_by_each_key(imap: Pair) -> None:
    random = Random(4)
    for number in range(150):
        people = (random.choice(PEOPLE) for _ in range(3))
        letter = plain(random.choice(SUBJECTS), *people, random.randrange(60), random.randrange(40))
        arrived = b'"%2d-Mar-2026 10:0%d:00 +0000"' % (random.randrange(1, 29), number % 10)
        for answer in imap.do(b"APPEND INBOX " + arrived + b" " + literal(letter)):
            assert answer.condition == "OK"
    imap.do(b"SELECT INBOX")
    for criteria in searches.SORTS:
        ours, theirs = map(numbers, imap.do(b"SORT (" + criteria + b") UTF-8 ALL"))
        assert ours == theirs, criteria


def conversation(random: Random) -> list[bytes]:
    """Letters that refer to earlier ones, of which some are missing, and one may be there twice."""
    letters = []
    for number in range(random.randrange(3, 18)):
        earlier = sorted(random.sample(range(number), random.randrange(min(number, 5) + 1)))
        ids = [b"<%d@x>" % one for one in earlier]
        fields = [
            b"Subject: " + random.choice(SUBJECTS).encode(),
            b"Date: %d Mar 2026 15:09:26 +0000" % random.randrange(1, 28),
        ]
        if random.random() < 0.85:
            fields.append(b"Message-ID: <%d@x>" % number)
        if random.random() < 0.7:
            strange = random.choice((b"", b"", b"garbage ", b"(c) ", b"<> ", b"<unknown@x> "))
            fields.append(b"References: " + strange + b"\r\n ".join(ids))
        elif ids:
            fields.append(b"In-Reply-To: " + random.choice((b"", b"Your mail of Sat ")) + ids[-1])
        random.shuffle(fields)
        if random.random() < 0.8:
            letters.append(b"\r\n".join(fields) + b"\r\n\r\nbody\r\n")
    random.shuffle(letters)
    return letters or conversation(random)


def test_threads(imap: Pair) -> None:
    for seed in range(60):
        mailbox = b"thread-%d" % seed
        imap.do(b"CREATE " + mailbox)
        fill(imap, conversation(Random(seed)), mailbox)
        imap.do(b"SELECT " + mailbox)
        for algorithm in (b"REFERENCES", b"ORDEREDSUBJECT"):
            for command in (b"THREAD ", b"UID THREAD "):
                ours, theirs = imap.do(command + algorithm + b" UTF-8 ALL")
                assert ours.all("THREAD") == theirs.all("THREAD"), (seed, algorithm)
