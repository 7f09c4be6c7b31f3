"""What a user's letter must be, and what is added to it."""

from __future__ import annotations

import email
from email.utils import parsedate_to_datetime

import pytest

from posthouse.mail.address import parse_address
from posthouse.mail.ids import LetterIds
from posthouse.submission.submission import AUTHORS_LIMIT, NO_AUTHOR, Submission

ALICE = parse_address("alice@north.test")
NOW = 1_800_000_000.0


class Clock:
    def now(self) -> float:
        return NOW


class Owners:
    """A router for which everybody owns one address."""

    def owns(self, login: str, address) -> bool:
        return str(address) == login


@pytest.fixture
def submission() -> Submission:
    return Submission(Owners(), LetterIds(1, lambda: int(NOW * 1000)), Clock(), "mail.north.test")


def test_what_is_missing_is_added(submission: Submission) -> None:
    head = submission.prepare(b"Subject: x\r\nTo: bob@south.test\r\n\r\n", ALICE)

    message = email.message_from_bytes(head)
    assert message["From"] == "alice@north.test"
    assert parsedate_to_datetime(message["Date"]).timestamp() == NOW
    assert message["Message-ID"].endswith("@mail.north.test>")
    assert message["Subject"] == "x"


def test_what_is_there_stays_as_it_is(submission: Submission) -> None:
    head = (
        b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nmessage-id: <1@x>\r\nFROM: Alice <alice@north.test>\r\n\r\n"
    )

    assert submission.prepare(head, ALICE) == head


def test_blind_copies_stay_blind(submission: Submission) -> None:
    head = (
        b"From: alice@north.test\r\nBcc: eve@east.test,\r\n mallory@east.test\r\n"
        b"To: bob@south.test\r\nBCC: x@y.test\r\n\r\n"
    )

    prepared = submission.prepare(head, ALICE)

    assert b"east" not in prepared
    assert b"y.test" not in prepared
    assert b"To: bob@south.test\r\n" in prepared


@pytest.mark.parametrize(
    ("author", "refused"),
    [
        (b"From: alice@north.test", False),
        (b"From: Alice <ALICE@north.test>, bob@north.test", True),
        (b'From: "alice@north.test" <bob@north.test>', True),
        (b"From: alice@north.test\r\nFrom: bob@north.test", True),
        (b"From: (nobody)", True),
        (b"From: nobody", True),
        (b"From: " + b"alice@north.test, " * AUTHORS_LIMIT + b"alice@north.test", True),
    ],
)
async def test_every_author_must_be_the_users_own(
    submission: Submission, author: bytes, refused: bool
) -> None:
    objection = submission.objection("alice@north.test", author + b"\r\n\r\n")

    reply = objection if objection is None or hasattr(objection, "code") else await objection

    assert (reply is not None and reply.code >= 500) is refused


async def test_a_letter_without_author_is_refused(submission: Submission) -> None:
    assert submission.objection("alice@north.test", b"Subject: x\r\n\r\n") == NO_AUTHOR


def test_the_envelope_sender_must_be_the_users_own_or_null(submission: Submission) -> None:
    assert submission.may_send("alice@north.test", ALICE)
    assert submission.may_send("alice@north.test", None)
    assert not submission.may_send("alice@north.test", parse_address("bob@north.test"))


def test_a_user_of_the_machine_sends_as_whoever_he_likes(submission: Submission) -> None:
    assert submission.may_send("uid:33", parse_address("www@anything.test"))
