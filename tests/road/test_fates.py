"""One letter, many recipients: each has exactly one fate, and whoever has to be told is told once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from posthouse.accounts.alias import Kind
from posthouse.journey import catalogue, record
from posthouse.mail.header import FIELDS_LIMIT
from posthouse.mail.ids import LetterIds, parse_id
from tests.notifications import told
from tests.servers import InProcess, ServeProcess

SENDER = "alice@north.test"
CONTENT = b"Subject: to all of you\r\nMessage-ID: <mixed@north.test>\r\n\r\n" + b"0123456789\r\n" * 60
LARGE_BODY = (b"x" * 70 + b"\r\n") * 3000
ACCOUNTS = {"alice": None, "bob": None, "carl": None, "full": 300}
"""`full` has room for an octet, so that RCPT says yes, and not for the letter."""
ALIASES: dict[str, Any] = {
    "round": ["about"],
    "about": ["round"],
    "half": ["bob", "round"],
    "team": ["bob", "gone@north.test"],
    "tight": ["full", "carl"],
    "over": (Kind.FORWARD, ["frank@south.test"]),
    "list": (Kind.LIST, ["carl", "lisa@south.test"]),
    "nobody": ["gone@north.test", "vanished@north.test"],
    "left": (Kind.MOVED, ["left@south.test"]),
}


def world_of(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path, accounts=ACCOUNTS, aliases=ALIASES)


async def counts(world: InProcess) -> dict[str, int]:
    """How many rows there are of all that a letter may leave behind."""
    tables = ("content", "content_body", "email", "placement", "queue_letter", "queue_entry")
    return {table: (await world.rows(f"SELECT count(*) FROM {table}"))[0][0] for table in tables}


async def test_each_recipient_of_a_mixed_letter_has_exactly_one_fate(tmp_path: Path) -> None:
    """Given local, remote, over quota, loop, unknown behind an alias, forward and list in one letter."""
    async with world_of(tmp_path) as world:
        south = await world.peer("south.test")
        recipients = {
            "bob@north.test": "250",
            "rita@south.test": "250",
            "full@north.test": "250",
            "round@north.test": "550 5.4.6",
            "half@north.test": "250",
            "team@north.test": "250",
            "over@north.test": "251",
            "list@north.test": "250",
            "gone@north.test": "550 5.1.1",
            "left@north.test": "551",
            "frank@south.test": "250",  # to whom `over` forwards: one recipient
        }
        async with world.client() as client:
            replies = await client.envelope(SENDER, list(recipients))
            for (recipient, expected), reply in zip(recipients.items(), replies[1:], strict=True):
                assert reply.startswith(expected), (recipient, reply)
            (answer,) = await client.content(CONTENT)
        assert answer.startswith("250 2.0.0 Ok: queued as ")
        id = answer.rpartition(" ")[2]

        letter = await south.letter(0)
        assert Counter(str(one.address) for one in letter.recipients) == Counter(
            ["rita@south.test", "frank@south.test", "lisa@south.test"]
        )
        (notice,) = await told(world)
        assert Counter(notice.actions.values()) == {"failed": 2}
        failed = {fields["Original-Recipient"]: fields["Status"] for fields in notice.recipients}
        assert notice.actions.keys() == {"full@north.test", "gone@north.test"}
        assert failed == {
            None: "5.2.2",
            "rfc822; team@north.test": "5.1.1",
        }
        assert len(await world.mailbox("bob")) == 1
        assert len(await world.mailbox("carl")) == 1
        assert len(await world.mailbox("full")) == 0
        assert await world.queue() == []
        assert len(south.letters) == 1

        journey = await world.read(lambda reader: record.load(reader, parse_id(id)))
        assert journey is not None
        fates = [
            step[2]
            for step in journey.steps
            if step[0] in (record.STORED, record.BOUNCED, record.DELIVERED, record.FAILED)
        ]
        assert sorted(fates) == list(range(1, 8)), "each number has one fate"


@pytest.mark.parametrize(
    ("recipient", "actions"),
    [
        ("bob NOTIFY=SUCCESS", {"bob@north.test": "delivered"}),
        ("bob NOTIFY=FAILURE,DELAY", {}),
        ("bob NOTIFY=NEVER", {}),
        ("bob", {}),
        ("full", {"full@north.test": "failed"}),
        ("full NOTIFY=NEVER", {}),
        ("full NOTIFY=SUCCESS", {}),
        ("full NOTIFY=SUCCESS,FAILURE", {"full@north.test": "failed"}),
        ("team", {"gone@north.test": "failed"}),
        ("team NOTIFY=NEVER", {}),
        ("team NOTIFY=SUCCESS,FAILURE", {"gone@north.test": "failed", "team@north.test": "expanded"}),
        ("team NOTIFY=SUCCESS", {"team@north.test": "expanded"}),
        ("list NOTIFY=SUCCESS", {"list@north.test": "expanded"}),
        ("list", {}),
        ("half NOTIFY=FAILURE", {}),  # a loop beside others is cut
        ("tight NOTIFY=FAILURE", {"full@north.test": "failed"}),
        ("over NOTIFY=SUCCESS", {}),  # the next hop knows DSN, and reports itself
    ],
)
async def test_the_sender_is_told_of_each_recipient_what_he_asked_for(
    tmp_path: Path, recipient: str, actions: dict[str, str]
) -> None:
    """RFC 3461 §4.1, §5.2.7: with somebody else beside, so that the letter is accepted whatever happens."""
    async with world_of(tmp_path) as world:
        await world.peer("south.test")
        name, _, notify = recipient.partition(" ")
        await world.send(SENDER, [f"{name}@north.test {notify}".strip(), "carl@north.test"], CONTENT)
        notices = await told(world)
        assert [notice.actions for notice in notices] == ([actions] if actions else [])
        assert len(await world.mailbox("carl")) == 1


async def test_nothing_is_written_of_a_letter_that_nobody_gets(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        before = await counts(world)
        async with world.client() as client:
            await client.envelope(SENDER, ["full@north.test"])
            (answer,) = await client.content(CONTENT)
            assert answer.startswith("552 5.2.2 ")

            # Where the size is announced, RCPT already says so; and DATA has nobody to go to.
            replies = await client.envelope(SENDER, ["full@north.test"], mail="SIZE=780")
            assert replies[1].startswith("552 5.2.2 ")
            assert (await client.command("DATA")).startswith(("503 ", "554 "))
            await client.command("RSET")

            replies = await client.envelope(SENDER, ["nobody@north.test"])
            assert replies[1].startswith("550 ")
            await client.command("RSET")
        assert await counts(world) == before
        assert await world.rows("SELECT used FROM account WHERE address = 'full@north.test'") == [(0,)]
        assert await told(world) == []


async def test_large_letters_that_nobody_gets_leave_no_file(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        before = await counts(world)
        async with world.client() as client:
            await client.envelope(SENDER, ["full@north.test"])
            (answer,) = await client.content(CONTENT + LARGE_BODY)
            assert answer.startswith("552 5.2.2 ")
            await client.envelope(SENDER, ["bob@north.test"])
            (answer,) = await client.content(b"Delivered-To: bob@north.test\r\n" + CONTENT + LARGE_BODY)
            assert " 5.4.6 " in answer
        blobs = world.config.data_directory / "blobs"
        await world.until(lambda: not [path for path in blobs.rglob("*") if path.is_file()], what="no file")
        assert await counts(world) == before


async def test_lmtp_answers_for_each_recipient(tmp_path: Path) -> None:
    """RFC 2033 §4.2: who is refused in the reply is not bounced besides."""
    async with world_of(tmp_path) as world:
        async with world.client("lmtp") as client:
            people = [
                "bob@north.test",
                "full@north.test",
                "round@north.test",
                "team@north.test",
                "tight@north.test",
            ]
            replies = await client.envelope(SENDER, people)
            assert [reply[:3] for reply in replies] == ["250", "250", "250", "550", "250", "250"]
            answers = await client.content(CONTENT, replies=4)
            assert [answer[:9] for answer in answers] == ["250 2.0.0", "552 5.2.2", "250 2.0.0", "250 2.0.0"]

            (notice,) = await told(world)
            assert notice.actions == {"gone@north.test": "failed"}
            await client.envelope(SENDER, ["full@north.test"])
            before = await counts(world)
            (refused,) = await client.content(CONTENT)
            assert refused.startswith("552 5.2.2 ")
            assert await counts(world) == before
            assert (await client.command("NOOP")).startswith("250")
        assert len({answer.rpartition(" ")[2] for answer in answers if answer.startswith("250")}) == 1
        assert len(await told(world)) == 1
        assert (len(await world.mailbox("bob")), len(await world.mailbox("carl"))) == (1, 1)


async def test_lmtp_answers_for_each_recipient_also_where_one_reason_holds_for_all(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world, world.client("lmtp") as client:
        await client.envelope(SENDER, ["bob@north.test", "carl@north.test", "team@north.test"])
        answers = await client.content(b"Received: from a by b; now\r\n" * 60 + CONTENT, replies=3)
        assert [" 5.4.6 " in answer for answer in answers] == [True, True, True]
        assert (await client.command("NOOP")).startswith("250")


async def test_nobody_is_bounced_who_was_told_by_the_reply(tmp_path: Path) -> None:
    async with InProcess(tmp_path, accounts={"alice": None, "full": 300, "tiny": 300}) as world:
        before = await counts(world)
        async with world.client() as client:
            await client.envelope(SENDER, ["full@north.test", "tiny@north.test"])
            (answer,) = await client.content(CONTENT)
        assert answer.startswith("552 5.2.2 ")
        assert await counts(world) == before
        assert await told(world) == []


async def test_many_recipients_are_one_transaction_and_one_content(tmp_path: Path) -> None:
    people = {f"user{number}": None for number in range(100)}
    async with InProcess(tmp_path, accounts=people) as world:
        await world.send("x@east.test", [f"{name}@north.test" for name in people], CONTENT)
        assert await world.rows("SELECT count(*), count(DISTINCT content) FROM email") == [(100, 1)]
        assert (await counts(world))["content"] == 1


async def test_a_letter_to_oneself_through_a_forward_that_comes_back_is_not_stored_twice(
    tmp_path: Path,
) -> None:
    """Given a letter that carries our Delivered-To, then it loops and is refused (RFC 5321 §6.3)."""
    async with world_of(tmp_path) as world:
        async with world.client() as client:
            await client.envelope("x@east.test", ["bob@north.test"])
            (answer,) = await client.content(b"Delivered-To: bob@north.test\r\n" + CONTENT)
            assert re.match(r"5\d\d 5\.4\.6 ", answer), answer
            await client.envelope("x@east.test", ["bob@north.test"])
            (answer,) = await client.content(b"Received: from a by b; now\r\n" * 60 + CONTENT)
            assert re.match(r"5\d\d 5\.4\.6 ", answer), answer
        assert await world.mailbox("bob") == []


async def test_an_author_who_hides_behind_a_thousand_fields_is_not_overlooked(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world, world.client() as client:
        await client.envelope(SENDER, ["bob@north.test"])
        (answer,) = await client.content(b"To: bob@north.test\r\n" * FIELDS_LIMIT + CONTENT)
        assert answer == "554 5.6.0 The header section has too many fields"
        assert await world.mailbox("bob") == []


async def test_a_refusal_at_the_end_of_data_has_a_journey(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        async with world.client() as client:
            await client.envelope("x@east.test", ["full@north.test"])
            await client.content(CONTENT)
        found = await world.until(
            lambda: world.read(lambda reader: catalogue.find(reader, "x@east.test")),
            seconds=5,
            what="a journey",
        )
        journey = await world.read(lambda reader: record.load(reader, found[0]))
        assert journey is not None
        assert "552 5.2.2" in str(journey.steps)


def test_the_id_in_the_reply_is_the_one_that_the_journey_is_found_by(tmp_path: Path) -> None:
    with ServeProcess(tmp_path, accounts=ACCOUNTS, aliases=ALIASES) as server:
        with server.smtp() as client:
            client.ehlo()
            client.mail("x@east.test")
            client.rcpt("bob@north.test")
            client.rcpt("team@north.test")
            client.rcpt("over@north.test")
            code, text = client.data(CONTENT)
            assert code == 250
        id = text.decode().rpartition(" ")[2]
        for name in (id, "<mixed@north.test>", "bob@north.test", "x@east.test", "over@north.test"):
            told_of = server.run("journey", name)
            assert told_of.returncode == 0, told_of.stderr
            assert id in told_of.stdout, name
            assert "bob@north.test" in told_of.stdout
        assert server.run("journey", "0000000000000").returncode != 0


@pytest.mark.parametrize("body", [b"small\r\n", LARGE_BODY], ids=["small", "large"])
async def test_a_letter_whose_id_another_process_has_made_gets_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    async with InProcess(tmp_path) as world:
        # Given that a clock was set back, and the id of the next letter is there already,
        first = await world.send(SENDER, ["bob@north.test"])
        real, again = LetterIds.new, [parse_id(first)] * 2
        monkeypatch.setattr(LetterIds, "new", lambda ids: again.pop() if again else real(ids))
        # when it comes, then it is accepted under another, in its trace field and in its journey.
        second = await world.send(SENDER, ["alice@north.test"], CONTENT + body)
        monkeypatch.undo()
        assert second != first
        (message,) = await world.mailbox("alice")
        assert f"id {second}".encode() in message
        assert first.encode() not in message
        assert message.endswith(body)
        journeys = await world.read(lambda reader: record.load(reader, parse_id(second)))
        assert journeys
        assert len(await world.mailbox("bob")) == 1
