"""Journeys are written compactly, found by what people know, and forgotten in time."""

from __future__ import annotations

from posthouse.journey import catalogue, record
from posthouse.journey.refusals import _DROPPED, CLIENTS_LIMIT, REASONS_LIMIT, Refusals
from posthouse.mail.envelope import Client
from posthouse.mail.ids import first_of
from posthouse.mail.reply import NO_SUCH_USER, RELAY_DENIED, Reply
from tests.databases import Scratch

HOUR = 3600.0
START = 1_793_600_000.0


def id_at(at: float, counter: int = 1) -> int:
    return first_of(at) + counter


def steps(at: float = START) -> list[record.Step]:
    return [
        record.connected(at, "192.0.2.1", 4711, "smtp"),
        record.helo(at, "mx.north.test"),
        record.tls(at, "TLSv1.3 TLS_AES_256_GCM_SHA384"),
        record.sender(at, "alice@north.test", 5000),
        record.recipient(at, "bob@south.test", ("bob@south.test is an account",)),
        record.content(at, 5120, "<1@north.test>"),
        record.stored(at, 1, "bob@south.test", "INBOX", 7),
    ]


def as_read(written: object) -> object:
    """What MessagePack makes of a step: sequences inside become lists."""
    return [as_read(item) for item in written] if isinstance(written, list | tuple) else written


def test_what_was_written_is_read_back_part_after_part(db: Scratch) -> None:
    # given a letter with an attempt after its acceptance
    id = id_at(START)
    later = [record.delivered(START + 9, 2, "c@east.test", "250 2.0.0 Ok", "mx.east.test[192.0.2.9]:25")]
    record.add(db, id, id_at(START + 9), later)
    record.begin(db, [(id, steps())])
    # when
    journey = record.load(db, id)
    # then
    assert journey is not None
    assert as_read(journey.steps) == as_read([*steps(), *later])
    assert record.load(db, id + 1) is None


def test_long_journeys_are_compressed_and_short_ones_are_small() -> None:
    dialogue = [("<", f"250-line {number} of a long reply", 0.1) for number in range(200)]
    long = [record.attempt(START, [1], "east.test", dialogue=dialogue)]
    assert len(record.encode(long)) < 2000
    assert as_read(record.decode(record.encode(long))) == as_read(long)
    assert len(record.encode(steps())) < 320


def test_every_kind_of_step_has_a_name_for_each_of_its_fields() -> None:
    made = [
        *steps(),
        record.authenticated(0, "alice@north.test"),
        record.refused(0, "RCPT TO:<x@y.test>", "550 5.1.1 No"),
        record.decision(0, "reject_unknown_client", "refuse", "no name"),
        record.queued(0, 1, "c@east.test", "east.test"),
        record.bounced(0, 1, "c@east.test", "550 No"),
        record.discarded(0, 1, "c@east.test", "sieve discard"),
        record.written(0, 5, ["alice@north.test"]),
        record.dsn_sent(0, 6),
        record.attempt(0, [1], "east.test"),
        record.delivered(0, 1, "c@east.test", "250 Ok"),
        record.deferred(0, 1, "c@east.test", "450 Later"),
        record.failed(0, 1, "c@east.test", "550 No"),
        record.delay_warning(0, 1, "c@east.test", 9),
        record.administrator(0, "held", 1),
        record.refused_session(0, "192.0.2.1", 3, 9, "RCPT", "x@y.test", "550 No"),
    ]
    assert {step[0] for step in made} == set(record.KINDS)
    for step in made:
        assert len(step) == 2 + len(record.KINDS[step[0]][1]), record.KINDS[step[0]]


def test_no_password_reaches_a_journey() -> None:
    dialogue = [
        (">", "EHLO mx.north.test", 0.0),
        (">", "AUTH PLAIN AGFsaWNlAHNlY3JldA==", 0.1),
        ("<", "535 5.7.8 no", 0.2),
        (">", "auth login YWxpY2U=", 0.3),
        ("<", "334 UGFzc3dvcmQ6", 0.4),
        (">", "c2VjcmV0", 0.5),
        ("<", "235 ok", 0.6),
        (">", "MAIL FROM:<alice@north.test>", 0.7),
    ]
    kept = record.attempt(0, [1], "east.test", dialogue=dialogue)[-1]
    assert [line for _, line, _ in kept] == [
        "EHLO mx.north.test",
        "AUTH PLAIN [not shown]",
        "535 5.7.8 no",
        "auth login [not shown]",
        "334 UGFzc3dvcmQ6",
        "[not shown]",
        "235 ok",
        "MAIL FROM:<alice@north.test>",
    ]
    assert "secret" not in str(record.refused(0, "AUTH PLAIN secret", "535 no"))


def test_a_dialogue_without_end_is_shortened_in_its_middle() -> None:
    dialogue = [("<", "x" * 5000, float(number)) for number in range(record.DIALOGUE_LIMIT * 3)]
    kept = record.redact_dialogue(dialogue)
    assert len(kept) == record.DIALOGUE_LIMIT + 1
    assert kept[0][2] == 0.0
    assert kept[-1][2] == record.DIALOGUE_LIMIT * 3 - 1
    assert kept[record.DIALOGUE_LIMIT // 2][1] == "(800 lines left out)"
    assert max(len(line) for _, line, _ in kept) == record.LINE_LIMIT


class Later:
    """Takes closures as `write_later` does, and runs them twice, as a database may."""

    def __init__(self, db: Scratch, room: bool = True) -> None:
        self.db = db
        self.room = room

    def __call__(self, closure: object) -> bool:
        if self.room:
            self.db.run("SAVEPOINT first")
            closure(self.db)  # type: ignore[operator]
            self.db.run("ROLLBACK TO first")
            closure(self.db)  # type: ignore[operator]
        return self.room


def refusals(later: Later) -> Refusals:
    ids = iter(range(id_at(START), id_at(START) + 100_000))
    return Refusals(lambda: next(ids), later)


def test_a_thousand_refusals_of_one_client_are_one_journey(db: Scratch) -> None:
    # given a client that tries the same a thousand times, and something else once
    collected = refusals(Later(db))
    client = Client("192.0.2.66")
    for number in range(1000):
        collected.add(START + number, client, "RCPT", "bob@south.test", NO_SUCH_USER)
    collected.add(START, client, "RCPT", "x@elsewhere.test", RELAY_DENIED)
    # when
    assert collected.flush()
    # then it is found by its IP address and by the addresses in question
    (id,) = catalogue.find(db, "192.0.2.66")
    assert catalogue.find(db, "bob@south.test") == [id]
    journey = record.load(db, id)
    assert journey is not None
    assert as_read(journey.steps) == as_read(
        [
            record.refused_session(
                START, "192.0.2.66", 1000, START + 999, "RCPT", "bob@south.test", str(NO_SUCH_USER)
            ),
            record.refused_session(
                START, "192.0.2.66", 1, START, "RCPT", "x@elsewhere.test", str(RELAY_DENIED)
            ),
        ]
    )
    # and nothing is written twice
    assert collected.flush()
    assert len(catalogue.find(db, "192.0.2.66")) == 1


def test_refusals_are_bounded_in_clients_and_reasons(db: Scratch) -> None:
    collected = refusals(Later(db))
    client = Client("192.0.2.66")
    for number in range(REASONS_LIMIT * 3):
        collected.add(START, client, "RCPT", f"user{number}@south.test", NO_SUCH_USER)
    for number in range(CLIENTS_LIMIT):
        collected.add(START, Client(f"10.0.{number >> 8}.{number & 255}"), "", "", Reply(554, "5.7.1", "No"))
    # the first thousand clients were written when there was no more room
    (id,) = catalogue.find(db, "192.0.2.66")
    journey = record.load(db, id)
    assert journey is not None
    assert len(journey.steps) == REASONS_LIMIT
    assert sum(step[3] for step in journey.steps) == REASONS_LIMIT * 3


def test_what_the_database_does_not_take_is_dropped_and_counted(db: Scratch) -> None:
    collected = refusals(Later(db, room=False))
    for _ in range(5):
        collected.add(START, Client("192.0.2.66"), "RCPT", "bob@south.test", NO_SUCH_USER)
    before = _DROPPED.value
    assert not collected.flush()
    assert _DROPPED.value == before + 5
    assert collected.flush()
