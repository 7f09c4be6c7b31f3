"""The next hop fails in every way there is: the right outcome, the right retries, the right word to the
sender."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posthouse.journey import record
from posthouse.mail.ids import parse_id
from posthouse.pocket.dns import Fault as DnsFault
from posthouse.pocket.faults import Answer, BadTls, Break, Drop, Fault, Hang, Step, greylisting
from posthouse.pocket.peer import ScriptedPeer
from posthouse.protocol.smtp.outgoing import Timeouts
from tests.notifications import told
from tests.servers import InProcess

HOUR = 3600.0
DAY = 24 * HOUR
SENDER, RECIPIENT = "alice@north.test", "carol@south.test"


async def steps_of(world: InProcess, id: str) -> list[record.Step]:
    journey = await world.read(lambda reader: record.load(reader, parse_id(id)))
    assert journey is not None
    return journey.steps


async def reason(world: InProcess) -> str:
    """Why the only entry of the queue waits."""
    await world.idle()
    ((_, _, attempts, reason),) = await world.queue()
    assert attempts == 1
    return reason


def no_extensions() -> Answer:
    """A server that takes HELO only: no PIPELINING, CHUNKING or DSN; the client waits for each reply."""
    return Answer(Step.HELO, "500 5.5.1 What is EHLO?", times=1)


BEFORE_THE_LETTER = [
    Step.CONNECT,
    Step.GREETED,
    Step.HELO,
    Step.MAIL,
    Step.RCPT,
    Step.DATA,
    Step.CONTENT,
]


@pytest.mark.parametrize("kind", [Drop, Break])
@pytest.mark.parametrize("step", BEFORE_THE_LETTER)
async def test_a_connection_lost_before_the_end_is_tried_again_and_delivered_once(
    tmp_path: Path, step: Step, kind: Callable[[Step], Fault]
) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test")
        south.script(kind(step))
        id = await world.send(SENDER, [RECIPIENT])
        assert (await reason(world)).startswith("421 4.4.2 Connection lost"), step

        south.script()
        assert await world.next_attempt()
        assert len(south.letters) == 1
        assert await world.queue() == []
        assert await told(world) == []
        kinds = [entry[0] for entry in await steps_of(world, id)]
        assert kinds.count(record.ATTEMPT) == 2
        assert kinds[-2:] == [record.ATTEMPT, record.DELIVERED]


@pytest.mark.parametrize("step", [Step.MAIL, Step.RCPT, Step.DATA])
async def test_without_pipelining_a_connection_lost_in_the_envelope_leaves_no_doubt(
    tmp_path: Path, step: Step
) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test")
        south.script(no_extensions(), Drop(step))
        await world.send(SENDER, [RECIPIENT])
        assert "may have arrived" not in await reason(world)
        south.script()
        await world.next_attempt()
        assert (await world.queue(), len(south.letters)) == ([], 1)


@pytest.mark.parametrize("kind", [Drop, Break])
async def test_a_lost_reply_to_the_final_dot_means_a_second_copy_and_the_journey_says_so(
    tmp_path: Path, kind: Callable[[Step], Fault]
) -> None:
    """RFC 5321 §4.5.3.2.6, RFC 1047: a duplicate before a loss."""
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test")
        south.script(kind(Step.END_OF_DATA))
        id = await world.send(SENDER, [RECIPIENT])
        assert "421 4.4.2 Connection lost" in await reason(world)
        south.script()
        await world.next_attempt()
        assert len(south.letters) == 2
        assert south.letters[0].content == south.letters[1].content
        assert await world.queue() == []
        (deferred,) = [entry for entry in await steps_of(world, id) if entry[0] == record.DEFERRED]
        assert "the letter may have arrived" in deferred[4]


async def test_a_connection_lost_after_the_reply_loses_nothing(tmp_path: Path) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test")
        south.script(Break(Step.ACCEPTED, times=1))
        await world.send(SENDER, [RECIPIENT])
        await south.letter(0)
        await world.idle()
        assert await world.queue() == []
        await world.send(SENDER, [RECIPIENT])
        await south.letter(1)
        await world.idle()
        assert (await world.queue(), len(south.letters)) == ([], 2)


SLOW = [step for step in BEFORE_THE_LETTER if step is not Step.GREETED]


@pytest.mark.parametrize("step", [*SLOW, Step.END_OF_DATA])
async def test_silence_ends_an_attempt_and_slowness_does_not(tmp_path: Path, step: Step) -> None:
    async with InProcess(tmp_path) as world:
        outbound = world.worker.road.outbound
        short = Timeouts(greeting=0.3, command=0.3, data=0.3, block=0.3, final=0.3)
        outbound._settings = dataclasses.replace(outbound._settings, timeouts=short)
        south = await world.peer("south.test")
        south.script(Hang(step, times=1))
        await world.send(SENDER, [RECIPIENT])
        assert (await reason(world)).startswith("421 4.4.2 Timed out")

        south.script(Hang(step, seconds=0.1))
        await world.next_attempt()
        assert await world.queue() == []
        kept_in_doubt = 1 if step is Step.END_OF_DATA else 0
        assert len(south.letters) == 1 + kept_in_doubt


async def test_a_server_that_writes_octet_by_octet_gets_its_letter(tmp_path: Path) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test", pace=0.0005)
        await world.send(SENDER, [RECIPIENT])
        await south.letter(0)
        await world.idle()
        assert await world.queue() == []


ANSWERED = [Step.HELO, Step.MAIL, Step.RCPT, Step.DATA, Step.END_OF_DATA]


@pytest.mark.parametrize("step", [Step.CONNECT, *ANSWERED])
async def test_450_at_any_step_is_tried_again(tmp_path: Path, step: Step) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test")
        south.script(Answer(step, "450 4.7.1 Not now, at all"))
        await world.send(SENDER, [RECIPIENT])
        assert await reason(world) == "450 4.7.1 Not now, at all"
        south.script()
        taken = len(south.letters)
        await world.next_attempt()
        assert (await world.queue(), len(south.letters)) == ([], taken + 1)
        assert await told(world) == []


@pytest.mark.parametrize("step", ANSWERED)
async def test_554_at_any_step_is_final_and_the_sender_is_told_in_the_same_words(
    tmp_path: Path, step: Step
) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test")
        south.script(Answer(step, "554 5.7.1 Not you, never"))
        id = await world.send(
            SENDER, [f"{RECIPIENT} ORCPT=rfc822;carol+20friend@south.test"], mail="ENVID=QQ314"
        )
        (notice,) = await told(world)
        assert await world.queue() == []
        assert notice.letter["To"] == SENDER
        assert notice.letter["Auto-Submitted"] == "auto-replied"
        assert notice.about["Reporting-MTA"] == "dns; mail.north.test"
        assert notice.about["Original-Envelope-Id"] == "QQ314"
        (fields,) = notice.recipients
        assert fields["Final-Recipient"] == f"rfc822; {RECIPIENT}"
        assert fields["Original-Recipient"] == "rfc822; carol friend@south.test"
        assert (fields["Action"], fields["Status"]) == ("failed", "5.7.1")
        assert fields["Diagnostic-Code"] == "smtp; 554 5.7.1 Not you, never"
        assert fields["Remote-MTA"] == f"dns; {south.hostname}"
        assert "Not you, never" in notice.letter.get_body().get_content()  # type: ignore[union-attr]
        assert "a letter" in notice.returned.as_string()
        kinds = [entry[0] for entry in await steps_of(world, id)]
        assert record.FAILED in kinds
        assert kinds[-1] == record.DSN_SENT


async def test_a_greeting_of_554_speaks_for_the_host_and_not_for_the_recipients(tmp_path: Path) -> None:
    """As Postfix does it (smtp_skip_5xx_greeting): the next host, and then the next attempt."""
    async with InProcess(tmp_path) as world:
        first = await world.peer("south.test", 10)
        first.script(Answer(Step.CONNECT, "554 5.3.2 Not today"))
        await world.send(SENDER, [RECIPIENT])
        assert await reason(world) == "554 5.3.2 Not today"
        second = await world.peer("south.test", 20)
        await world.next_attempt()
        await second.letter(0)
        await world.idle()
        assert (await world.queue(), first.letters) == ([], [])


@pytest.mark.parametrize("gone", ["refusing", "dropping", "421"])
async def test_the_second_host_takes_what_the_first_cannot(tmp_path: Path, gone: str) -> None:
    async with InProcess(tmp_path) as world:
        first = await world.peer("south.test", 10)
        second = await world.peer("south.test", 20)
        if gone == "refusing":
            first.refuse()
        else:
            drop = gone == "dropping"
            first.script(
                no_extensions(), Drop(Step.RCPT) if drop else Answer(Step.MAIL, "421 4.3.2 Going down")
            )
        await world.send(SENDER, [RECIPIENT])
        await second.letter(0)
        await world.idle()
        assert (await world.queue(), first.letters, len(second.letters)) == ([], [], 1)


async def test_a_host_that_is_down_gets_its_letter_when_it_is_back(tmp_path: Path) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test")
        south.refuse()
        await world.send(SENDER, [RECIPIENT])
        assert (await reason(world)).startswith("451 4.4.1 Cannot connect to mx2.south.test[127.0.0.2]:")
        await south.start()
        await world.next_attempt()
        assert (await world.queue(), len(south.letters)) == ([], 1)


@pytest.mark.parametrize(
    "bad", [BadTls.EXPIRED, BadTls.WRONG_NAME, BadTls.STRANGE, BadTls.NO_HANDSHAKE, None]
)
async def test_opportunistic_tls_never_stops_a_letter(tmp_path: Path, bad: BadTls | None) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test", ca=world.ca, bad_tls=bad)
        await world.send(SENDER, [RECIPIENT])
        letter = await south.letter(0)
        assert bool(letter.tls) == (bad is not BadTls.NO_HANDSHAKE)
        await world.idle()
        assert await world.queue() == []


@pytest.mark.parametrize("answer", ["454 4.7.0 TLS not available", "554 5.7.3 No TLS for you"])
async def test_a_refused_starttls_means_in_clear(tmp_path: Path, answer: str) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test", ca=world.ca)
        south.script(Answer(Step.STARTTLS, answer))
        await world.send(SENDER, [RECIPIENT])
        assert (await south.letter(0)).tls == ""


@pytest.mark.parametrize("bad", [BadTls.EXPIRED, BadTls.WRONG_NAME, BadTls.STRANGE, BadTls.NO_HANDSHAKE])
async def test_where_tls_is_demanded_a_bad_certificate_defers_and_a_good_one_delivers(
    tmp_path: Path, bad: BadTls
) -> None:
    (tmp_path / "ca").mkdir()
    settings = {"outbound": {"tls_security_level": "secure", "tls_ca_file": str(tmp_path / "ca" / "ca.pem")}}
    world = InProcess(tmp_path, settings)
    assert world.ca.certificate.exists()
    async with world:
        south = await world.peer("south.test", ca=world.ca, bad_tls=bad)
        await world.send(SENDER, [RECIPIENT])
        assert "TLS handshake failed" in await reason(world)
        assert south.letters == []
        good = ScriptedPeer(south.hostname, ca=world.ca)
        await south.close()
        await good.start(south.address, south.port)
        world.peers[south.hostname] = good
        await world.next_attempt()
        assert (await good.letter(0)).tls
        assert await world.queue() == []


async def test_greylisting_costs_two_attempts_and_no_word_to_the_sender(tmp_path: Path) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test")
        south.script(greylisting(times=2))
        await world.send(SENDER, [RECIPIENT])
        assert await reason(world) == "451 4.7.1 Greylisted, try again later"
        await world.next_attempt()
        await world.next_attempt()
        assert (await world.queue(), len(south.letters)) == ([], 1)
        assert await told(world) == []


@pytest.mark.parametrize("down", [True, False], ids=["down", "greylisting for ever"])
async def test_five_days_of_attempts_a_warning_after_four_hours_and_the_end(
    tmp_path: Path, down: bool
) -> None:
    """Given a next hop that never takes it, then the attempts go from minimal to maximal backoff."""
    async with InProcess(tmp_path, {"journey": {"enabled": True}}) as world:
        south = await world.peer("south.test")
        if down:
            south.refuse()
        else:
            south.script(Answer(Step.RCPT, "450 4.2.0 Greylisted"))
        arrived = world.clock.now()
        id = await world.send(SENDER, [f"{RECIPIENT} ORCPT=rfc822;{RECIPIENT}"])
        warned = 0.0
        while await world.next_attempt():
            if not warned and await told(world):
                warned = world.clock.now() - arrived
            assert world.clock.now() - arrived < 6 * DAY

        tried = [step[1] - arrived for step in await steps_of(world, id) if step[0] == record.ATTEMPT]
        gaps = [later - earlier for earlier, later in itertools.pairwise(tried)]
        slack = 20.0  # seconds that this test itself took
        assert tried[0] < slack
        assert 5 * DAY <= tried[-1] < 5 * DAY + slack
        assert all(300 <= gap <= 4000 + slack for gap in gaps[:-1]), gaps
        assert gaps[-1] <= 4000 + slack
        assert gaps[0] < gaps[2] < gaps[4]
        assert min(gaps[5:-1]) >= 4000 - slack
        assert 5 * DAY / 4000 <= len(tried) <= 5 * DAY / 4000 + 8

        warning, failure = await told(world)
        assert 4 * HOUR <= warned <= 4 * HOUR + 4000 + slack
        assert warning.actions == {RECIPIENT: "delayed"}
        assert warning.recipients[0]["Will-Retry-Until"]
        assert warning.recipients[0]["Status"] == ("4.4.1" if down else "4.2.0")
        assert failure.actions == {RECIPIENT: "failed"}
        assert failure.recipients[0]["Status"] == "5.4.7"
        assert ("Cannot connect" if down else "450 4.2.0 Greylisted") in failure.recipients[0][
            "Diagnostic-Code"
        ]
        assert await world.queue() == []
        assert south.letters == []


async def deferred_for_ever(world: InProcess) -> None:
    south = await world.peer("south.test")
    south.script(Answer(Step.RCPT, "450 4.2.0 Greylisted"))


async def refused(world: InProcess) -> None:
    south = await world.peer("south.test")
    south.script(Answer(Step.RCPT, "550 5.1.1 No such user"))


async def taken(world: InProcess) -> None:
    await world.peer("south.test")


async def taken_by_a_server_without_dsn(world: InProcess) -> None:
    south = await world.peer("south.test")
    south.script(no_extensions())


NOTIFY: list[tuple[Any, str, list[str]]] = [
    (refused, "", ["failed"]),
    (refused, "FAILURE", ["failed"]),
    (refused, "FAILURE,DELAY", ["failed"]),
    (refused, "SUCCESS,FAILURE", ["failed"]),
    (refused, "NEVER", []),
    (refused, "SUCCESS", []),
    (refused, "DELAY", []),
    (deferred_for_ever, "", ["delayed", "failed"]),
    (deferred_for_ever, "FAILURE", ["failed"]),
    (deferred_for_ever, "DELAY", ["delayed"]),
    (deferred_for_ever, "DELAY,FAILURE", ["delayed", "failed"]),
    (deferred_for_ever, "SUCCESS", []),
    (deferred_for_ever, "NEVER", []),
    (taken, "", []),
    (taken, "SUCCESS", []),  # the next hop knows DSN, and has taken over the duty
    (taken_by_a_server_without_dsn, "", []),
    (taken_by_a_server_without_dsn, "SUCCESS", ["relayed"]),
    (taken_by_a_server_without_dsn, "SUCCESS,FAILURE", ["relayed"]),
    (taken_by_a_server_without_dsn, "FAILURE,DELAY", []),
    (taken_by_a_server_without_dsn, "NEVER", []),
]


@pytest.mark.parametrize(("happens", "notify", "actions"), NOTIFY)
async def test_the_sender_is_told_what_he_asked_for(
    tmp_path: Path, happens: Any, notify: str, actions: list[str]
) -> None:
    """RFC 3461 §4.1."""
    quick = {
        "queue": {"minimal_backoff_time": "1h", "maximal_backoff_time": "5h", "maximal_queue_lifetime": "1d"}
    }
    async with InProcess(tmp_path, quick) as world:
        await happens(world)
        await world.send(SENDER, [f"{RECIPIENT} NOTIFY={notify}" if notify else RECIPIENT])
        while await world.next_attempt():
            pass
        assert [notice.actions for notice in await told(world)] == [{RECIPIENT: action} for action in actions]
        assert await world.queue() == []


@pytest.mark.parametrize("happens", [refused, deferred_for_ever, taken_by_a_server_without_dsn])
async def test_nobody_is_told_of_a_letter_from_nobody(tmp_path: Path, happens: Any) -> None:
    """RFC 5321 §4.5.5: and it is given up after bounce_queue_lifetime."""
    waits = {"minimal_backoff_time": "1h", "maximal_backoff_time": "5h", "bounce_queue_lifetime": "2d"}
    async with InProcess(tmp_path, {"queue": waits}) as world:
        await happens(world)
        began = world.clock.now()
        id = await world.send("", [f"{RECIPIENT} NOTIFY=SUCCESS,FAILURE,DELAY"])
        while await world.next_attempt():
            pass
        assert world.clock.now() - began < 2 * DAY + HOUR
        assert await world.queue() == []
        assert await world.rows("SELECT 1 FROM placement UNION ALL SELECT 1 FROM content") == []
        kinds = [entry[0] for entry in await steps_of(world, id)]
        assert record.DSN_SENT not in kinds
        assert kinds[-1] in (record.FAILED, record.DELIVERED)


async def test_the_header_only_comes_back_where_the_sender_wants_no_more(tmp_path: Path) -> None:
    """RFC 3461 §4.3."""
    async with InProcess(tmp_path) as world:
        await refused(world)
        content = b"Subject: a secret\r\n\r\nthe body itself\r\n"
        await world.send(SENDER, [RECIPIENT], content, mail="RET=HDRS ENVID=head")
        await world.send(SENDER, [RECIPIENT], content, mail="RET=FULL ENVID=whole")
        # They come in any order: each letter is tried when a sender is free.
        notices = await world.until(lambda: _two(world), what="two notifications")
        by_envelope = {notice.about["Original-Envelope-Id"]: notice for notice in notices}
        header_only, whole = by_envelope["head"], by_envelope["whole"]
        assert "the body itself" not in header_only.letter.as_string()
        assert "a secret" in header_only.returned.as_string()
        assert "the body itself" in whole.returned.as_string()


async def _two(world: InProcess) -> list[Any]:
    found = await told(world)
    return found if len(found) == 2 else []


async def test_a_bounce_that_cannot_be_delivered_ends_there(tmp_path: Path) -> None:
    """Given a sender elsewhere who does not exist, then his bounce is refused and begets no other."""
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test")
        south.script(Answer(Step.RCPT, "550 5.1.1 No such user"))
        await world.send("nobody@south.test", [RECIPIENT])
        await world.until(lambda: south.came_to(Step.RCPT) == 2, what="the bounce")
        await world.idle()
        assert await world.queue() == []
        assert await world.rows("SELECT 1 FROM placement UNION ALL SELECT 1 FROM content") == []


@pytest.mark.parametrize(
    ("records", "outcome"),
    [
        ({}, "5.1.2"),  # no such domain
        ({"MX": "0 ."}, "5.1.10"),  # null MX, RFC 7505
        ({"TXT": '"no host"'}, "5.1.2"),  # a name without any host
    ],
)
async def test_a_domain_that_takes_no_mail_is_told_of_at_once(
    tmp_path: Path, records: dict[str, str], outcome: str
) -> None:
    async with InProcess(tmp_path) as world:
        for kind, value in records.items():
            world.dns.add("south.test", kind, value)
        await world.send(SENDER, [RECIPIENT])
        (notice,) = await told(world)
        assert notice.recipients[0]["Status"] == outcome
        assert await world.queue() == []


async def test_dns_that_fails_for_the_moment_defers(tmp_path: Path) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test")
        world.dns.fail("south.test", DnsFault.SERVFAIL)
        await world.send(SENDER, [RECIPIENT])
        assert (await reason(world)).startswith("451 4.4.3")
        world.dns.fail("south.test", None)
        await world.next_attempt()
        assert (await world.queue(), len(south.letters)) == ([], 1)


async def test_each_recipient_of_one_transaction_has_an_outcome_of_its_own(tmp_path: Path) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test")
        south.script(
            Answer(Step.RCPT, "550 5.1.1 No such user", recipient="gone@south.test"),
            Answer(Step.RCPT, "450 4.2.1 Try again", times=1, recipient="later@south.test"),
        )
        people = [f"{name}@south.test" for name in ("carol", "gone", "later", "dave")]
        await world.send(SENDER, people)
        letter = await south.letter(0)
        assert [str(one.address) for one in letter.recipients] == ["carol@south.test", "dave@south.test"]
        assert (await reason(world)) == "450 4.2.1 Try again"
        (notice,) = await told(world)
        assert notice.actions == {"gone@south.test": "failed"}
        await world.next_attempt()
        assert [str(one.address) for one in south.letters[1].recipients] == ["later@south.test"]
        assert await world.queue() == []


async def test_the_journey_tells_every_attempt_with_its_dialogue(tmp_path: Path) -> None:
    async with InProcess(tmp_path) as world:
        south = await world.peer("south.test")
        south.script(Answer(Step.MAIL, "451 4.3.0 Out of order", times=1))
        id = await world.send(SENDER, [RECIPIENT])
        await world.idle()
        await world.next_attempt()
        first, second = [step for step in await steps_of(world, id) if step[0] == record.ATTEMPT]
        said = [f"{side} {line}" for side, line, _ in first[-1]]
        assert f"> MAIL FROM:<{SENDER}> SIZE" in "\n".join(said)
        assert "< 451 4.3.0 Out of order" in said
        assert second[-1][-1][1].startswith("250 2.0.0 Ok: queued as")
