"""Two sessions that change one mailbox in turns are told the same of each other's work as by Dovecot."""

from __future__ import annotations

from random import Random

import pytest

from tests.beside.fetched import fill
from tests.beside.servers import Both
from tests.beside.wire import Answer, literal

pytestmark = pytest.mark.debian("dovecot", "dovecot-pop3d")

FLAGS = (
    b"\\Seen",
    b"\\Deleted",
    b"\\Deleted",
    b"\\Flagged",
    b"\\Answered",
    b"\\Draft",
    b"$Label1",
    b"Work",
    b"WORK",
)


def step(random: Random) -> bytes:
    """A command on a mailbox of some messages; sets may name ones that are gone."""
    first, last = sorted((random.randrange(1, 12), random.randrange(1, 14)))
    numbers = random.choice(
        (b"%d" % first, b"%d:%d" % (first, last), b"%d:*" % first, b"%d,%d" % (first, last))
    )
    flags = b" ".join(random.sample(FLAGS, random.randrange(3)))
    how = random.choice((b"+FLAGS", b"-FLAGS", b"FLAGS"))
    return random.choice(
        (
            b"NOOP", b"NOOP", b"CHECK", b"EXPUNGE", b"UID EXPUNGE " + numbers,
            b"UID STORE %b %b (%b)" % (numbers, how, flags),
            b"UID STORE %b %b (%b)" % (numbers, how, flags),
            b"UID COPY %b Other" % numbers,
            b"UID COPY %b INBOX" % numbers,
            b"UID MOVE %b Other" % numbers,
            b"UID FETCH %b (FLAGS)" % numbers,
            b"UID FETCH %b (BODY[TEXT])" % numbers,
            b"UID SEARCH DELETED",
            b"APPEND INBOX (\\Seen) " + literal(b"Subject: new\r\n\r\nnew\r\n"),
        )
    )  # fmt: skip


class View:
    """What a client knows from what it was told: the flags of each message, None where it was told none."""

    def __init__(self, count: int) -> None:
        self.flags: list[list[str] | None] = [None] * count

    def hear(self, answer: Answer) -> None:
        for one in answer.untagged:
            kind = str(one[1]) if len(one) > 1 else ""
            if kind == "EXISTS":
                assert int(one[0]) >= len(self.flags), "EXISTS must not shrink"
                self.flags += [None] * (int(one[0]) - len(self.flags))
            elif kind == "EXPUNGE":
                del self.flags[int(one[0]) - 1]
            elif kind == "FETCH":
                said = dict(zip(map(str, one[2][::2]), one[2][1::2], strict=True))
                if "FLAGS" in said:
                    flags = sorted({str(flag).lower() for flag in said["FLAGS"]} - {"\\recent"})
                    self.flags[int(one[0]) - 1] = flags

    def agrees(self, other: View) -> bool:
        """Whether both know of as many messages, and nothing different of one."""
        return len(self.flags) == len(other.flags) and all(
            one is None or two is None or one == two for one, two in zip(self.flags, other.flags, strict=True)
        )


@pytest.mark.parametrize("seed", range(6))
def test_two_sessions_are_told_the_same(both: Both, seed: int) -> None:
    random = Random(seed)
    pairs = [both.imap(), both.imap()]
    fill(pairs[0], [b"Subject: %d\r\n\r\nx\r\n" % number for number in range(10)])
    pairs[0].do(b"CREATE Other")
    views = [(View(0), View(0)), (View(0), View(0))]
    history = []
    for at in (0, 1):
        for view, answer in zip(views[at], pairs[at].do(b"SELECT INBOX"), strict=True):
            view.hear(answer)
    for _ in range(60):
        at, command = random.randrange(2), step(random)
        # When something is said differs; after NOOP all has been said. And before: to copy what another has
        # expunged meanwhile, Dovecot refuses; to RFC 9051 §6.4.9 a UID that is not there is no error.
        for told in (b"NOOP", command, b"NOOP"):
            history.append((at, told))
            ours, theirs = answers = pairs[at].do(told)
            for view, answer in zip(views[at], answers, strict=True):
                view.hear(answer)
            assert ours.condition == theirs.condition, history
            assert ours.all("SEARCH") == theirs.all("SEARCH"), history
        assert views[at][0].agrees(views[at][1]), history
    for pair, (here, there) in zip(pairs, views, strict=True):
        for view, answer in zip((here, there), pair.do(b"NOOP"), strict=True):
            view.hear(answer)
        known = list(here.flags), list(there.flags)
        for view, answer in zip((here, there), pair.do(b"UID FETCH 1:* (FLAGS)"), strict=True):
            view.hear(answer)
        assert here.flags == there.flags
        # and what was known was so
        for before, view in zip(known, (here, there), strict=True):
            assert all(one in (None, two) for one, two in zip(before, view.flags, strict=True))
        pair.close()
