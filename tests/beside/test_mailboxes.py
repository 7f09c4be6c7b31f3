"""A tree of mailboxes with strange names is listed, renamed and deleted as in Dovecot."""

from __future__ import annotations

import pytest

from tests.beside.wire import Answer, Pair

pytestmark = pytest.mark.debian("dovecot", "dovecot-pop3d")

NAMES = (
    b"a", b"a/b", b"a/b/c", b"a/b/d", b"x", b"x/y", b"x/y/z", b'"with space"', b'"quo\\"te"',
    b'"back\\\\slash"',
    b'"&AOQ-"', b'"&AOQ-/&APY-"', b'"a&-b"', b'"dot.ted"', b"dot", b"dot/.hidden", b"INBOX/child",
    b"inbox/Other", b"INBOX/child/deep", b'"{brace}"', b"NIL", b'"1"', b"UPPER", b"upper", b"foo", b"foo/bar",
    b"foobar", b'"&Jjo-"', b'"*"', b'"%"', b'"a*b"', b'"INBOXX"', b'" lead"', b'"trail "', b'"#hash"',
    # not there afterwards
    b'""', b'"/lead"', b"a//b", b"a", b"inbox", b'"bad&name"', b'"&AGE-"', b'"' + b"n" * 300 + b'"',
)  # fmt: skip
SUBSCRIBED = (
    b"a", b"a/b/c", b"gone/away", b"UPPER", b"inbox", b"INBOX/child", b"x/y/z", b'"with space"', b'"*"',
    b'"bad&name"',
)  # fmt: skip
PATTERNS = (
    b'""', b'"*"', b'"%"', b'"%/%"', b'"a/%"', b'"a*"', b'"*b"', b'"a/b/%"', b'"inbox"', b'"INBOX/*"',
    b'"inbox/*"', b'"I*"', b'"%X"', b'"upper"', b'"UPPER"', b'"&AOQ-*"', b'"*/*"', b'"%%"', b'"**"',
    b'"%*"', b'"x"', b'"x/%"', b'"x/%/%"', b'"nosuch"', b'"foo%"', b'"foo/%"', b'"dot*"', b'"/"', b'"a/"',
    b'"gone"', b'"gone/%"', b'"*/c"', b'"a/*/c"', b'"%/c"', b"{3+}\r\na/%", b"NIL", b"1", b'"quo*"',
    b'"with space"', b"a%", b"*",
)  # fmt: skip
SELECTIONS = (b"", b"(SUBSCRIBED) ", b"(RECURSIVEMATCH SUBSCRIBED) ", b"(REMOTE) ", b"() ")
RETURNS = (
    b"",
    b" RETURN (CHILDREN)",
    b" RETURN (SUBSCRIBED)",
    b" RETURN (SUBSCRIBED CHILDREN)",
    b" RETURN ()",
)
EXTENDED = tuple(
    b'LIST %b"" %b%b' % (selection, patterns, returns)
    for selection in SELECTIONS
    for patterns in (b'"*"', b'"%"', b'"a/%"', b"gone", b'(a x "gone/%")')
    for returns in RETURNS
)
STATUS = b"(MESSAGES RECENT UNSEEN UIDNEXT)"
CHANGES = (
    *(b"STATUS %b %b" % (name, STATUS) for name in (b"a", b"INBOX", b"inbox", b"nosuch", b"x/y", b'""')),
    b"RENAME a/b q", b'LIST "" "*"', b"RENAME nosuch r", b"RENAME q a", b"RENAME x x/y/z/w",
    b"RENAME UPPER UPPER", b"RENAME dot Dot", b'LIST "" "*"', b"DELETE q", b"DELETE nosuch", b"DELETE INBOX",
    b"DELETE inbox", b"DELETE foo", b'DELETE ""', b'LIST "" "*"',
    b"UNSUBSCRIBE a/b/c", b'LSUB "" "*"', b'LSUB "" "%"', b"UNSUBSCRIBE a",
    b"UNSUBSCRIBE INBOX/child", b'LSUB "" "*"', b"CREATE foo", b"DELETE a", b'LIST "" "*"', b"SELECT x",
    b"SELECT a", b"SELECT inBOX", b"SELECT INBOX/child/deep", b'EXAMINE "&AOQ-"', b"SELECT nosuch",
    b'SELECT ""', b"APPEND nosuch {3+}\r\na\r\n", b"SELECT INBOX", b"COPY 1 nosuch",
)  # fmt: skip
DIFFERENT = {
    b'LIST "" "i*"': "RFC 9051 §6.3.9: INBOX is listed if the word in capitals fits. Dovecot takes any case.",
    b'LIST "a" "/%"': "RFC 9051 §6.3.9: reference and pattern are one name. Dovecot parts them.",
    b'LSUB "" (a b)': "RFC 3501 §9: LSUB takes one pattern. Dovecot takes LIST's syntax.",
    b"RENAME INBOX saved": "RFC 9051 §6.3.6: what lies below INBOX stays. Dovecot moves it.",
    b"RENAME foo INBOX": "RFC 9051 §6.3.6: INBOX exists. To Dovecot not yet.",
    b'STATUS "a/" ' + STATUS: "RFC 9051 §6.3.4: a separator at the end says only that more may follow.",
}


@pytest.fixture
def tree(imap: Pair) -> Pair:
    """A session with nothing but INBOX, and the names of `NAMES` made as far as both servers make them."""
    (listed, _) = imap.do(b'LIST "" "%"')
    for name in (one[3] for one in listed.all("LIST") if str(one[3]) != "INBOX"):
        if name != b"INBOX":
            imap.ours.do(b'UNSUBSCRIBE "%b"' % name)
            assert imap.ours.do(b'DELETE "%b"' % name).condition == "OK"
    for name in NAMES:
        ours, theirs = imap.do(b"CREATE " + name)
        assert agree(ours, theirs), name
    for name in SUBSCRIBED:
        ours, theirs = imap.do(b"SUBSCRIBE " + name)
        assert agree(ours, theirs), name
    return imap


def agree(ours: Answer, theirs: Answer) -> bool:
    """Whether both refuse. To what is not in modified UTF-7, and so no name, we say BAD and Dovecot NO."""
    return (ours.condition == "OK") == (theirs.condition == "OK")


def listed(answer: Answer, *, children: bool = True) -> list[str]:
    """LIST, LSUB and STATUS responses, without what is of this server only."""
    left_out = {"\\MARKED", "\\UNMARKED"} | (set() if children else {"\\HASCHILDREN", "\\HASNOCHILDREN"})
    found = []
    for kind, *rest in answer.untagged:
        if kind in ("LIST", "LSUB"):
            attributes, separator, name, *more = rest
            name = name if isinstance(name, bytes) else str(name).encode()
            if name != b"Gesendet":  # the one mailbox that this Dovecot makes by itself
                kept = sorted({str(one).upper() for one in attributes} - left_out)
                found.append(f"{kind} {kept} {separator} {name!r} {more!r}".replace("b'", "'"))
        elif kind == "STATUS":
            numbers = dict(zip(rest[1][::2], rest[1][1::2], strict=True))
            found.append(f"STATUS {sorted(numbers.items())}")
    return sorted(found)


def difference(pair: Pair, command: bytes) -> str:
    """What the servers answer differently; empty where nothing."""
    ours, theirs = pair.do(command)
    if not agree(ours, theirs):
        return f"{command!r}: {ours.condition} {ours.text}; Dovecot {theirs.condition} {theirs.text}"
    children = b"CHILDREN" in command  # Dovecot tells of children only who asks
    here, there = (set(listed(answer, children=children)) for answer in (ours, theirs))
    return "" if here == there else f"{command!r}: only ours {here - there}, only Dovecot's {there - here}"


def test_patterns_find_the_same_names(tree: Pair) -> None:
    for pattern in PATTERNS:
        assert not difference(tree, b'LIST "" ' + pattern)
        assert not difference(tree, b'LSUB "" ' + pattern)
    for reference, pattern in ((b'"a/"', b'"%"'), (b'"a"', b'"%"'), (b'"/"', b'"%"'), (b'"nosuch"', b'"*"')):
        assert not difference(tree, b"LIST " + reference + b" " + pattern)


def test_options_of_list(tree: Pair) -> None:
    for command in EXTENDED:
        assert not difference(tree, command)


def test_a_tree_that_changes(tree: Pair) -> None:
    for command in CHANGES:
        assert not difference(tree, command)


def test_what_differs_does_so_for_a_reason(tree: Pair) -> None:
    for command in DIFFERENT:
        assert difference(tree, command) or difference(tree, b'LIST "" "*"'), command
