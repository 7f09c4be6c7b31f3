"""A plan gives each final recipient exactly one fate."""

from __future__ import annotations

import pytest

from posthouse.acceptance.letter import Bounce, Letter, Queue, Store
from posthouse.acceptance.planning import Accepted, plan
from posthouse.mail.address import parse_address
from posthouse.mail.content import MemoryContent
from posthouse.mail.envelope import AccountId, Client, LetterId, Notify, Recipient, Sender
from posthouse.mail.reply import ALIAS_LOOP, MAILBOX_BUSY, RECIPIENT_OK
from posthouse.queue.entries import LOCAL
from posthouse.routing.route import Kind, Local, Remote, Resolution, Unknown

ALICE = Local(AccountId(1), "alice@north.test")
BOB = Local(AccountId(2), "bob@north.test")
CAROL = Remote(parse_address("carol@south.test"), "south.test")


def letter(head: bytes = b"Subject: x\r\n\r\n") -> Letter:
    sender = Sender(parse_address("dora@east.test"))
    return Letter(LetterId(7), sender, Client("192.0.2.1"), MemoryContent(head), b"Received: x\r\n", 1.0)


def accepted(address: str, *finals, kind=Kind.ALIAS, failures=(), notify=Notify.UNSTATED) -> Accepted:
    given = parse_address(address)
    resolution = Resolution(given, kind, finals, RECIPIENT_OK, (), tuple(failures))
    return Accepted(Recipient(given, notify), resolution)


def test_a_recipient_named_twice_gets_one_copy() -> None:
    made = plan(
        letter(),
        [
            accepted("alice@north.test", ALICE, kind=Kind.LOCAL),
            accepted("all@north.test", ALICE, BOB, CAROL),
            accepted(
                "CAROL@south.test", Remote(parse_address("carol@SOUTH.test"), "south.test"), kind=Kind.REMOTE
            ),
        ],
    )

    assert [type(fate) for fate in made.fates] == [Store, Store, Queue]
    assert [fate.number for fate in made.fates] == [1, 2, 3]
    assert made.accounts == [1, 2]


def test_each_given_recipient_knows_its_fates() -> None:
    made = plan(letter(), [accepted("a@north.test", ALICE), accepted("all@north.test", BOB, ALICE)])

    assert made.lots == ((0,), (1, 0))


def test_a_failure_behind_an_alias_is_bounced_or_waits_as_it_says() -> None:
    dead = Unknown(parse_address("dead@north.test"), ALIAS_LOOP)
    busy = Unknown(parse_address("busy@north.test"), MAILBOX_BUSY)

    made = plan(letter(), [accepted("all@north.test", ALICE, failures=[dead, busy])])

    store, bounce, queue = made.fates
    assert isinstance(store, Store)
    assert isinstance(bounce, Bounce)
    assert bounce.reply == ALIAS_LOOP
    assert isinstance(queue, Queue)
    assert (queue.next_hop, queue.reason) == (LOCAL, MAILBOX_BUSY)


def test_a_letter_that_was_in_this_mailbox_before_fails_there_alone() -> None:
    looping = letter(b"Delivered-To: alice@north.test\r\nSubject: x\r\n\r\n")

    made = plan(looping, [accepted("all@north.test", ALICE, BOB)])

    assert [type(fate) for fate in made.fates] == [Bounce, Store]


@pytest.mark.parametrize(
    ("notify", "passed_on", "reported"),
    [(Notify.SUCCESS | Notify.FAILURE, Notify.FAILURE, 1), (Notify.NEVER, Notify.NEVER, 0)],
)
def test_success_of_a_list_is_reported_once_as_expanded(notify, passed_on, reported) -> None:
    made = plan(letter(), [accepted("list@north.test", ALICE, CAROL, kind=Kind.LIST, notify=notify)])

    assert {fate.recipient.notify for fate in made.fates} == {passed_on}
    assert len(made.expanded) == reported
