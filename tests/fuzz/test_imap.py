"""Whatever a client sends: no exception, bounded memory, and the same answers however it is cut."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.protocol.imap import commands, utf7, verbs
from posthouse.protocol.imap.enabled import Enabled
from posthouse.protocol.imap.notifying import UnknownEvent
from posthouse.protocol.imap.patterns import matches
from posthouse.protocol.imap.searching import FilterCharset, UnknownCharset
from posthouse.protocol.imap.sequence import SequenceSet, parse_sequence_set, write_sequence_set
from posthouse.protocol.imap.server import Connected, Literal, Result, ServerSession
from posthouse.protocol.imap.syntax import Parser, SyntaxProblem, mailbox_octets, quoted
from posthouse.protocol.imap.url import BadUrl, parse_authorized_url, parse_url, shown
from tests.transcripts.apart import Apart

WORDS = [verb.name.encode() for verb in verbs.VERBS] + [
    b"UID", b"INBOX", b"1:*", b"1,3:5,*", b"0", b"4294967296", b"(", b")", b"(\\Seen $x)", b"()",
    b"\\Recent", b"BODY[1.2.HEADER.FIELDS (From)]<0.5>", b"BODY[", b"ENVELOPE", b"FULL", b"OR", b"NOT",
    b"FROM", b"CHARSET", b"UTF-8", b"KOI8-R", b"SINCE", b"1-Feb-2020", b"31-Feb-2020", b"FLAGS.SILENT",
    b'"17-Jul-1996 02:44:25 -0700"', b"+FLAGS", b"RETURN", b"(MIN SAVE)", b"$", b"MODSEQ",
    b"(QRESYNC (7 100 1:3 (1 2)))", b"(CONDSTORE)", b"(CHANGEDSINCE 5 VANISHED)", b"(UNCHANGEDSINCE 5)",
    b"(STATUS (MESSAGES))", b"NIL", b"&AOQ-",
    b'"quo\\"ted"', b'"open', b"\\", b"&A", b"%", b"*", b"{3}\r\nabc", b"{3+}\r\nabc", b"{0+}\r\n",
    b"{99999999+}\r\n", b"{9999999999999999999}\r\n", b"~{3}", b"~{3+}\r\nabc", b"{x}",
    b"CATENATE (URL /x;UID=1 TEXT {3+}\r\nabc)", b"CATENATE (TEXT", b"URL", b"TEXT {1+}\r\na)",
    b"UTF8 (~{3+}\r\nabc)",
    b"CATENATE (URL {8+}\r\n/x;UID=1 TEXT ~{1+}\r\nx", b"(PARTIAL -1:-5)", b"RETURN (PARTIAL 1:5 SAVE)",
    b"PREVIEW", b"(PREVIEW (LAZY))", b"DEFLATE",
    b"IN (mailboxes (a b) subtree INBOX personal)", b"IN (", b"selected-delayed", b"UIDONLY",
    b"zh-Hans", b'"*"',
    b"FUZZY", b"FILTER", b"RETURN (RELEVANCY)", b"RETURN (UPDATE CONTEXT)", b"RETURN (UPDATE (UID FLAGS))",
    b"RETURN (UPDATE(ENVELOPE) SAVE)", b"CATENATE (UTF8 (~{3+}\r\nabc) URL /x;UID=1)", b'"a\xffb"', b";UID=3",
    b"(PREVIEW (LAZY LAZY))", b"SET STATUS", b"NONE",
    b"(selected (MessageNew (UID ENVELOPE) MessageExpunge))",
    b"(personal (MailboxName FlagChange))", b"(subtree (a b) NONE)", b"(inboxes (AnnotationChange))",
    b"(personal (MailboxMetadataChange ServerMetadataChange))", b"(subscribed (Sunrise))",
    b"UIDAFTER 4294967295", b"UIDBEFORE 1", b"UIDAFTER 1:3",
    b"(REVERSE DATE SUBJECT)", b"REFERENCES", b"OLDER", b"EMAILID", b"BINARY.SIZE[1.2]", b"BINARY[]<1.2>",
    b"SAVEDON", b"SAVEDATE", b"+lrs", b"-anyone", b"(MYRIGHTS)", b"/private/x", b"(DEPTH 1 MAXSIZE 5)",
    b"(/shared/x NIL)", b"(/private/y ~{3+}\r\na\0c)", b"(METADATA /shared/x)", b"AGJvYgBzZWNyZXQ=", b"PLAIN",
    b"LOGIN", b"=", b"*\r\n", b"DONE\r\n", b"\r\n", b"\n", b"\r", b"\0", b"\xff",
]  # fmt: skip

line = st.lists(st.sampled_from(WORDS), max_size=8).map(b" ".join)
messages = st.lists(
    st.sampled_from([b"{3+}\r\nabc", b"(\\Seen) {5+}\r\nabcde", b"{4+}\r\nabcd", b"(\\Recent) {3+}\r\nabc"]),
    max_size=6,
).map(lambda some: b" ".join([b"a APPEND INBOX", *some]) + b"\r\n")
tagged = line.map(lambda text: b"a " + text + b"\r\n")
sessions = st.lists(st.one_of(tagged, tagged, messages, line, st.binary(max_size=40)), max_size=12).map(
    b"".join
)


def play(pieces: Iterator[bytes], *, logged_in: bool, select: bool) -> tuple[bytes, list[str]]:
    """Everything the core says and hands out; a message is one event however it came."""
    session = ServerSession("h", tls_available=False, plaintext_login=True)
    core = Apart(session)
    said: list[bytes] = []
    events: list[str] = []
    message = b""

    def turn() -> None:
        nonlocal message
        while (event := core.next_event()) is not None:
            if isinstance(event, Literal):
                message += event.octets
            else:
                events.append(repr((message, event)))
                message = b""
            core.answer(decide(event))
        said.append(core.take_output())

    turn()
    if logged_in:
        core.receive(
            b"x LOGIN a b\r\ne ENABLE QRESYNC UTF8=ACCEPT\r\n" + (b"y SELECT INBOX\r\n" if select else b"")
        )
        turn()
    for piece in pieces:
        core.receive(piece)
        turn()
        assert len(session._lines) <= 70_000
    core.receive_eof()
    turn()
    assert core.closing or core.wants_tls
    return b"".join(said), events


def decide(event: object) -> Result | None:
    if isinstance(event, commands.Append | commands.AppendNext):
        return None if event.size % 2 or event.catenate else Result("NO", "no")
    if isinstance(event, commands.CatenateText):
        return None if event.size % 2 else Result("NO", "no")
    if isinstance(event, commands.CatenateUrl):
        return None if len(event.url) % 2 else Result("NO", "no")
    if isinstance(event, Connected | commands.Idle) or type(event).__name__ in ("Literal", "AppendAbort"):
        return None
    return Result("OK", "done")


@given(sessions, st.booleans(), st.booleans(), st.integers(1, 7))
@settings(max_examples=300, deadline=None)
def test_sessions_do_not_depend_on_how_they_are_cut(
    data: bytes, logged_in: bool, select: bool, size: int
) -> None:
    whole = play(iter([data]), logged_in=logged_in, select=select)
    cut = play(
        (data[start : start + size] for start in range(0, len(data), size)),
        logged_in=logged_in,
        select=select,
    )
    assert cut == whole


@given(sessions)
@settings(max_examples=300, deadline=None)
def test_every_line_said_is_whole(data: bytes) -> None:
    said, _ = play(iter([data]), logged_in=True, select=True)
    for text in said.split(b"\r\n")[:-1]:
        assert b"\n" not in text
        assert text[:2] in (b"* ", b"+ ") or b" " in text
    assert said.endswith(b"\r\n")


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(b" ".join), st.sampled_from(verbs.VERBS))
@settings(max_examples=500, deadline=None)
def test_arguments_parse_or_are_a_syntax_problem(arguments: bytes, verb: verbs.Verb) -> None:
    parser = Parser(b" " + arguments)
    try:
        verb.read(parser, verb.uid)
        parser.end()
    except (SyntaxProblem, FilterCharset, UnknownCharset, UnknownEvent):
        return


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_names_survive_modified_utf7(name: str) -> None:
    wire = utf7.encode(name)
    assert wire.isascii()
    assert utf7.decode(wire) == name
    old, new = Enabled(), Enabled()
    new.enable("IMAP4REV2")
    assert Parser(mailbox_octets(name, old)).astring() == wire
    if "\0" not in name:
        for enabled in (old, new):
            assert Parser(mailbox_octets(name, enabled), 0, enabled).list_mailbox() == name


@given(st.binary(max_size=40))
def test_modified_utf7_has_one_form(wire: bytes) -> None:
    try:
        name = utf7.decode(wire)
    except ValueError:
        return
    assert utf7.encode(name) == wire


@given(st.binary(max_size=2000).filter(lambda value: b"\0" not in value))
def test_strings_survive(value: bytes) -> None:
    parser = Parser(quoted(value))
    assert parser.string() == value
    assert parser.at_end()


@given(st.sets(st.integers(1, 60)), st.integers(1, 60))
def test_sets_survive(numbers: set[int], largest: int) -> None:
    wire = write_sequence_set(sorted(numbers))
    if not numbers:
        assert wire == b""
        return
    ranges = parse_sequence_set(wire).resolve(largest)
    assert [n for low, high in ranges for n in range(low, high + 1)] == sorted(numbers)


bound = st.one_of(st.just(0), st.integers(1, 30))


@given(st.lists(st.tuples(bound, bound), min_size=1), st.integers(1, 30))
def test_sets_resolve_as_the_rfc_says(bounds: list[tuple[int, int]], largest: int) -> None:
    wanted: set[int] = set()
    for first, last in bounds:
        low, high = sorted((first or largest, last or largest))
        wanted.update(range(low, high + 1))
    ranges = SequenceSet(tuple(bounds)).resolve(largest)
    assert [n for low, high in ranges for n in range(low, high + 1)] == sorted(wanted)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(ranges))


def slow(pattern: str, name: str) -> bool:
    """RFC 3501 §6.3.8, word for word."""
    if not pattern:
        return not name
    if pattern[0] in "*%":
        if slow(pattern[1:], name):
            return True
        return bool(name) and (pattern[0] == "*" or name[0] != "/") and slow(pattern, name[1:])
    return bool(name) and pattern[0] == name[0] and slow(pattern[1:], name[1:])


@given(st.text("ab/*%", max_size=7), st.text("ab/", max_size=9))
@settings(max_examples=500)
def test_patterns_match_as_the_rfc_says(pattern: str, name: str) -> None:
    assert matches(pattern, name) == slow(pattern, name)


def test_an_evil_pattern_takes_no_time() -> None:
    assert not matches("*a" * 500 + "b", "a" * 1000)


def test_deep_and_wide_searches_are_refused() -> None:
    for keys in (b"(" * 5000 + b"ALL" + b")" * 5000, b"NOT " * 5000 + b"ALL", b"ALL " * 5000 + b"ALL"):
        _, events = play(iter([b"a SEARCH " + keys + b"\r\n"]), logged_in=True, select=True)
        assert not any("Search" in event for event in events)


url_texts = st.lists(
    st.sampled_from(["imap://", "bob@", "h", "/", "INBOX", ";UID=", ";UIDVALIDITY=", ";SECTION=",
                     ";PARTIAL=", ";EXPIRE=", "2027-01-01T00:00:00Z", ";URLAUTH=", "user+bob", "anonymous",
                     ":internal:", "01" * 33,
                     "1", "0.5", "1.2.MIME", "%2F", "%", "%ff", "é", ";", "\r\n", '"']),
    max_size=12,
).map("".join)  # fmt: skip


@given(st.one_of(url_texts, st.text(max_size=40)))
@settings(max_examples=300)
def test_a_url_is_understood_or_bad(text: str) -> None:
    assert shown(text).isascii()
    try:
        url = parse_url(text)
    except BadUrl:
        return
    assert url.uid > 0
    assert ";" not in url.mailbox or "%3" in text


@given(url_texts, st.sampled_from(["", ";URLAUTH=submit+bob", ";URLAUTH=anonymous:internal:" + "0" * 32]))
@settings(max_examples=300)
def test_what_is_signed_is_what_was_written(text: str, end: str) -> None:
    try:
        url = parse_authorized_url(text + end)
    except BadUrl:
        return
    assert (text + end).startswith(url.rump)
    assert url.message.user
    assert url.message.mailbox
    assert bool(url.mechanism) == bool(url.token)
    assert len(text + end) == len(url.rump) + len(url.token) + (len(url.mechanism) + 2 if url.token else 0)
