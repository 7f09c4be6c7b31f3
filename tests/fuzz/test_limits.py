"""Headers made to be slow: the work is bounded, and counted in lines of Python and calls, not in time.

What is read of every letter while others wait takes a bounded number of steps, however long the header is.
What must look at all of it (search, removing Bcc) takes steps in proportion to the length.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import cycle, islice
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.acceptance import intake
from posthouse.mail import conversation, imapform, imapread, text
from posthouse.mail.content import HEAD_LIMIT
from posthouse.mail.header import FIELDS_LIMIT, HeaderIndex, remove_fields
from posthouse.mail.mime import ALL_HEADERS_LIMIT, PARTS_LIMIT, Part, scan
from posthouse.mail.received import delivered_to, hop_count
from posthouse.store import facts

STEPS_LIMIT = 1_000_000
"""Of one reading of one header; some hundredths of a second."""
STEPS_FOR_PARTS = 250 * PARTS_LIMIT
"""Of the structure of a letter that has more parts than are told apart."""


def steps(work: Callable[[], object], most: int) -> int:
    """How many lines of Python it takes, and calls of what is not Python; it is stopped beyond `most`."""
    count = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        assert count <= most, f"more than {most} steps"
        return line

    def call(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "c_call"

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(line)
    sys.setprofile(call)
    try:
        work()
    finally:
        sys.setprofile(before[1])
        sys.settrace(before[0])
    assert count <= most, f"{count} steps"
    return count


def repeated(*pieces: bytes, length: int = HEAD_LIMIT) -> bytes:
    """The pieces again and again, as many as there is room for."""
    many = islice(cycle(pieces), length * len(pieces) // max(len(b"".join(pieces)), 1))
    return b"".join(many)[:length]


def read_at_once(head: bytes) -> None:
    """All that is found out of a header when a letter comes, and when a mailbox is sorted and threaded."""
    header = HeaderIndex(head)
    envelope = imapform.envelope(header)
    scan(head + b"\r\n\r\nbody")
    hop_count(header)
    delivered_to(header)
    conversation.keys(header)
    for at in (imapread.FROM, imapread.TO, imapread.CC):
        imapread.first_local(envelope, at)
        imapread.first_address(envelope, at)
    for family in (facts.SUBJECT, facts.ADDRESS):
        family.make(envelope)
    facts.REFERENCES.make(envelope, head)


def read_whole(head: bytes) -> None:
    """What has to look at each field."""
    text.header_text(head)
    remove_fields(head, ["Bcc"])
    facts.HEADER_FIELDS.make(b"", head)


ADDRESSES = {
    "comments": b"(c) ", "comments and addresses": b"(c) a@b.c,", "opened": b"(", "closed": b")",
    "angles": b"<", "brackets": b"<>", "ats": b"@",
    "quotation marks": b'"', "escapes": b'"\\"', "colons": b":",
    "groups": b"g:;", "addresses": b"a@b,", "quoted": b'"a"@b,', "names": b"x <a@b>,", "words": b"a ",
    "routes": b"<@a,", "literals": b"[", "tabs": b"\t ", "empty": b",",
}  # fmt: skip
SUBJECTS = {
    "words": b"=?utf-8?q?a?= ", "charsets by turns": b"=?utf-8?q?a?= =?big5?q?a?= ", "begun": b"=?utf-8?b?a",
    "blobs": b"[a]", "replies": b"re:", "trailers": b"(fwd) ", "wrappers": b"[fwd: ", "elsewhere": b"aw: ",
    "replies with blobs": b"re [a]: ", "utf-7": b"=?utf-7?q?+2D3cAA-?= ",
}  # fmt: skip
PARAMETERS = {
    "semicolons": b";", "parameters": b"; a=b", "sections": b"; a*0=b", "extended": b";a*=x''%41",
    "comments": b"(a)", "parentheses": b"(", "languages": b"a,",
}  # fmt: skip
WHOLE = {
    "folds": b" x\r\n", "empty folds": b" \n", "authors": b"To:(\n", "hops": b"Received:\n",
    "mailboxes": b"Delivered-To: a\r\n", "content": b"content-\n", "content types": b"content-type:\n",
    "ids": b"References: <a@b>\r\n", "no fields": b"abc\n",
}  # fmt: skip
HEADS = {
    **{f"From: {name}": b"From: " + repeated(piece) for name, piece in ADDRESSES.items()},
    **{f"Subject: {name}": b"References: <a@b>\nSubject: " + repeated(p) for name, p in SUBJECTS.items()},
    **{f"a name: {name}": b"From: " + repeated(p) + b" <a@b.c>" for name, p in SUBJECTS.items()},
    **{
        f"{field}: {name}": f"Content-{field}: x/x".encode() + repeated(piece)
        for name, piece in PARAMETERS.items()
        for field in ("Type", "Disposition", "Language")
    },
    **{f"lines: {name}": b"Subject: x\r\n" + repeated(piece) for name, piece in WHOLE.items()},
    "References: 100,000 ids": b"References: " + b" ".join(b"<%d>" % n for n in range(100_000))[:HEAD_LIMIT],
    "every list": b"".join(
        name + b": " + repeated(b"(c) a@b.c,", length=HEAD_LIMIT // 6) + b"\r\n"
        for name in (b"From", b"Sender", b"Reply-To", b"To", b"Cc", b"Bcc")
    ),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_header_is_read_in_a_bounded_number_of_steps(head: bytes) -> None:
    steps(lambda: read_at_once(head), STEPS_LIMIT)


PIECES = [*ADDRESSES.values(), *SUBJECTS.values(), *PARAMETERS.values(), *WHOLE.values(), b"\r\n", b"To: "]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([b"From: ", b"Subject: ", b"Content-Type: ", b"References: ", b""]),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4),
)
def test_whatever_a_header_repeats_the_steps_are_bounded(start: bytes, pieces: list[bytes]) -> None:
    steps(lambda: read_at_once(start + repeated(*pieces)), STEPS_LIMIT)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([b"From: ", b"Subject: ", b""]), st.lists(st.sampled_from(PIECES), min_size=1, max_size=4)
)
def test_what_must_look_at_the_whole_header_takes_steps_by_its_length(
    start: bytes, pieces: list[bytes]
) -> None:
    once = steps(lambda: read_whole(start + repeated(*pieces, length=10_000)), STEPS_LIMIT)
    steps(lambda: read_whole(start + repeated(*pieces, length=20_000)), 2 * once + 1000)


def many_parts(part: bytes, most: int = PARTS_LIMIT) -> Part:
    """A letter with as many parts as are told apart and whose headers are kept, and more."""
    count = min(most, 2 * ALL_HEADERS_LIMIT // len(part))
    return scan(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + (b"\r\n--b\r\n" + part) * count)


LETTER = b"Content-Type: message/rfc822\r\n\r\n"


@pytest.mark.parametrize(
    "part",
    [
        LETTER + b"To: " + repeated(b"(c) ", length=60_000) + b"\r\n\r\n",
        LETTER + b"From: a@b\r\nTo: " + repeated(b"a@b,", length=60) + b"\r\n\r\n",
        LETTER + repeated(b"To:(\n", length=60_000) + b"\r\n\r\n",
        b"Content-Type: text/plain" + repeated(b"; a=b", length=600) + b"\r\n\r\n",
        b"Content-Language: " + repeated(b"a,", length=600) + b"\r\n\r\n",
        b"Content-Disposition: attachment" + repeated(b";", length=60_000) + b"\r\n\r\n",
    ],
    ids=["comments", "addresses", "fields", "parameters", "languages", "semicolons"],
)
def test_the_structure_of_many_parts_takes_a_bounded_number_of_steps(part: bytes) -> None:
    root = many_parts(part)
    steps(lambda: imapform.bodystructure(root), STEPS_FOR_PARTS)


def test_what_comes_octet_by_octet_is_not_looked_at_anew_each_time(tmp_path, monkeypatch) -> None:
    # given a header longer than what is held before it is looked at
    looks = []
    whole_end = intake.end_of_head

    def end_of_head(data: bytes) -> int:
        looks.append(len(data))
        return whole_end(data)

    monkeypatch.setattr(intake, "end_of_head", end_of_head)
    letter = intake.Intake(tmp_path)
    # when it comes in small pieces, each for itself
    for _ in range(HEAD_LIMIT // 16):
        letter.feed(b"X: 3456789012\r\n ")
    # then it is looked at now and then
    assert sum(looks) < 8 * HEAD_LIMIT
    letter.discard()


def test_a_header_with_more_fields_than_are_found_says_so() -> None:
    assert not HeaderIndex(b"Received: x\r\n" * (FIELDS_LIMIT - 1) + b"X: y\r\n" * FIELDS_LIMIT).crowded
    assert HeaderIndex(b"Received: x\r\n" * FIELDS_LIMIT + b"From: a@b.test\r\n").crowded
