"""A journey tells in its first sentence what became of the letter, and then how."""

from __future__ import annotations

import pytest

from posthouse.journey import explain, record
from posthouse.journey.record import Journey, Step
from posthouse.mail.ids import first_of, show

T = 1793624645.0
ID = first_of(T)

ARRIVAL: list[Step] = [
    record.connected(T, "192.0.2.1", 4711, "smtp"),
    record.helo(T, "mx.north.test"),
    record.tls(T, "TLSv1.3 TLS_AES_256_GCM_SHA384"),
    record.authenticated(T, "alice@north.test", "SCRAM-SHA-256-PLUS"),
    record.sender(T, "alice@north.test", 5120),
    record.refused(T, "RCPT TO:<nobody@south.test>", "550 5.1.1 No such user here"),
    record.decision(T, "reject_unlisted_recipient", "accept", ""),
    record.recipient(T, "bob@south.test", ("bob@south.test is an alias of carol@south.test",)),
    record.content(T, 5120, "<1@north.test>"),
]
STORED = record.stored(T, 1, "carol@south.test", "INBOX", 7)
QUEUED = record.queued(T, 2, "dave@east.test", "east.test")
ATTEMPT = record.attempt(
    T + 1,
    [2],
    "east.test",
    seconds=1.25,
    dns=["MX east.test: 10 mx.east.test"],
    peer="mx.east.test[192.0.2.9]:25",
    tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
    dialogue=[
        ("<", "220 mx.east.test", 0.1),
        (">", "EHLO mail.north.test", 0.1),
        ("<", "450 4.7.1 Greylisted", 0.2),
    ],
)
DEFERRED = record.deferred(
    T + 2, 2, "dave@east.test", "450 4.7.1 Greylisted", "mx.east.test[192.0.2.9]:25", T + 300
)
DELIVERED = record.delivered(T + 300, 2, "dave@east.test", "250 2.0.0 Ok", "mx.east.test[192.0.2.9]:25")
FAILED = record.failed(T + 300, 2, "dave@east.test", "550 5.1.1 User unknown")


def first(*steps: Step) -> str:
    return explain.tell(Journey(ID, list(steps))).first


@pytest.mark.parametrize(
    ("steps", "begins", "holds"),
    [
        ([STORED], "Delivered to carol@south.test, mailbox INBOX, at ", ""),
        ([QUEUED], "Still in the queue for dave@east.test, not tried yet.", ""),
        ([QUEUED, ATTEMPT, DEFERRED], "Still in the queue for dave@east.test: 450 4.7.1", "next attempt at "),
        ([QUEUED, DEFERRED, DELIVERED], "Delivered to dave@east.test at ", "mx.east.test[192.0.2.9]:25"),
        ([QUEUED, DEFERRED, FAILED], "Bounced: dave@east.test, 550 5.1.1", "no such mailbox"),
        ([record.bounced(T, 1, "x@y.test", "552 5.2.2 Full")], "Bounced: x@y.test", "mailbox"),
        ([record.discarded(T, 1, "x@y.test", "a rule")], "Discarded on purpose: x@y.test, a rule", ""),
        ([QUEUED, record.administrator(T, "held", 2)], "Held in the queue by an administrator: dave@", ""),
        (
            [QUEUED, record.administrator(T, "deleted", 0)],
            "Deleted from the queue by an administrator: dave@",
            "",
        ),
        (
            [QUEUED, record.administrator(T, "held", 2), record.administrator(T, "released", 2)],
            "Still in the queue for dave@east.test: released",
            "",
        ),
        ([STORED, record.administrator(T, "deleted", 0)], "Delivered to carol@south.test", ""),
        (
            [STORED, QUEUED, DELIVERED],
            "2 recipients. Delivered to carol@south.test",
            "Delivered to dave@east.test",
        ),
        (
            [
                record.refused_session(
                    T, "192.0.2.6", 12, T + 9, "RCPT", "x@y.test", "554 5.7.1 Relay access denied"
                )
            ],
            "Refused 12 times: the client 192.0.2.6",
            "own domains",
        ),
        ([], "Accepted for nobody", ""),
    ],
)
def test_the_first_sentence_says_what_became_of_it(steps: list[Step], begins: str, holds: str) -> None:
    said = first(*ARRIVAL, *steps) if steps else first()
    assert said.startswith(begins)
    assert holds in said
    assert said.endswith(".")


def test_every_step_is_told_in_order_with_replies_explained() -> None:
    story = explain.tell(
        Journey(ID, [*ARRIVAL, STORED, QUEUED, ATTEMPT, DEFERRED, DELIVERED, record.dsn_sent(T, 9)])
    )
    told = "\n".join(explain.lines(story))
    wanted = [
        show(ID),
        "192.0.2.1 port 4711 connected to smtp.",
        "It calls itself mx.north.test.",
        "TLS_AES_256_GCM_SHA384",
        "alice@north.test logged in by SCRAM-SHA-256-PLUS.",
        "The sender is alice@north.test and announced 5,120 octets.",
        "Refused: RCPT TO:<nobody@south.test>",
        "That is: There is no such mailbox at that domain.",
        "Rule reject_unlisted_recipient: accept",
        "A recipient is bob@south.test.",
        "bob@south.test is an alias of carol@south.test",
        "Its Message-ID is <1@north.test>.",
        "Stored for carol@south.test in the mailbox INBOX as UID 7.",
        "Queued for east.test as recipient 2, dave@east.test.",
        "Tried to pass it to east.test for recipient 2: reached mx.east.test[192.0.2.9]:25, 1.2 s.",
        "DNS: MX east.test: 10 mx.east.test",
        "< 220 mx.east.test",
        "= The server is ready",
        "> EHLO mail.north.test",
        "< 450 4.7.1 Greylisted",
        "greylisting",
        "Not delivered to dave@east.test this time",
        "Next attempt at",
        "Delivered to dave@east.test: mx.east.test[192.0.2.9]:25 took it.",
        f"The sender was notified by the letter {show(9)}.",
    ]
    position = 0
    for phrase in wanted:
        found = told.find(phrase, position)
        assert found >= 0, phrase
        position = found


def test_one_recipient_can_be_asked_for() -> None:
    story = explain.tell(Journey(ID, [*ARRIVAL, STORED, QUEUED, ATTEMPT, DELIVERED]), 2)
    assert story.first.startswith("Delivered to dave@east.test")
    told = "\n".join(explain.lines(story))
    assert "carol@south.test in the mailbox" not in told
    assert "Tried to pass it" in told


def test_what_strangers_said_cannot_play_with_the_terminal() -> None:
    evil = record.failed(T, 1, "x@y.test", "550 \x1b[2J\x07 gone\r\nfake line")
    told = list(explain.lines(explain.tell(Journey(ID, [evil]))))
    assert not any(character < " " for line in told for character in line)


def test_every_kind_of_step_can_be_told() -> None:
    rest = [
        FAILED,
        record.bounced(T, 1, "x@y.test", "552 5.2.2 Full"),
        record.discarded(T, 1, "x@y.test", "a rule"),
        record.written(T, ID, ["alice@north.test"]),
        record.dsn_sent(T, ID),
        record.delay_warning(T, 1, "x@y.test", ID),
        record.administrator(T, "held", 0, "root"),
        record.refused_session(T, "192.0.2.6", 1, T, "", "", "554 5.7.1 No"),
    ]
    steps = [*ARRIVAL, STORED, QUEUED, ATTEMPT, DEFERRED, DELIVERED, *rest]
    assert {step[0] for step in steps} == set(record.KINDS)
    assert len(explain.tell(Journey(ID, steps)).hops) == len(steps)


def test_programs_get_the_fields_by_name() -> None:
    told = explain.plain(Journey(ID, [QUEUED, record.dsn_sent(T, 9)]))
    assert told["id"] == show(ID)
    assert told["summary"].startswith("Still in the queue")
    assert told["steps"] == [
        {
            "kind": "queued", "at": T, "number": 2, "recipient": "dave@east.test", "next_hop": "east.test",
            "reason": "",
        },
        {"kind": "dsn-sent", "at": T, "child": show(9)},
    ]  # fmt: skip


@pytest.mark.parametrize("step", [record.authenticated(T, "uid:1000"), (record.AUTHENTICATED, T, "uid:1000")])
def test_a_login_without_a_mechanism_is_told_too(step: record.Step) -> None:
    """The kernel's word on a Unix socket, and what earlier versions have recorded."""
    told = "\n".join(explain.lines(explain.tell(Journey(ID, [step, STORED]))))
    assert "uid:1000 logged in." in told
