"""What an administrator does with the queue."""

from __future__ import annotations

import pytest

from posthouse.queue import entries, operations
from posthouse.queue.operations import Selection, State

US = 11


@pytest.fixture
def busy(queue):
    """One entry of each state, and a bounce."""
    queue.letter(1, due=500)
    queue.letter(2, due=0, holder=US)
    queue.letter(3, due=0, sender="carol@West.test", hop="[192.0.2.1]:25", arrived=1e9 + 3600)
    queue.letter(4, due=0, sender="", hop="local", arrived=1e9 + 7200)
    queue.run("UPDATE queue_entry SET reason = '450 4.2.0 busy', attempts = 1 WHERE letter = 1")
    operations.hold(queue, Selection(letter=3))
    return queue


def found(queue, **conditions):
    return [listed.letter for listed in operations.listing(queue, Selection(**conditions), 100)]


def test_entries_are_listed_with_their_state(busy):
    listed = operations.listing(busy, Selection(), 100)
    assert [(one.letter, one.state) for one in listed] == [
        (1, State.DEFERRED),
        (2, State.ACTIVE),
        (3, State.HELD),
        (4, State.INCOMING),
    ]
    assert listed[0].reason == "450 4.2.0 busy"
    assert operations.count(busy, Selection()) == 4


@pytest.mark.parametrize(
    ("conditions", "letters"),
    [
        ({"state": State.DEFERRED}, [1]),
        ({"state": State.ACTIVE}, [2]),
        ({"state": State.HELD}, [3]),
        ({"state": State.INCOMING}, [4]),
        ({"sender": "ALICE@north.test"}, [1, 2]),
        ({"sender": "@west.test"}, [3]),
        ({"sender": "<>"}, [4]),
        ({"sender": "c*l@*"}, [3]),
        ({"sender": "%"}, []),
        ({"sender": "_lice@north.test"}, []),
        ({"recipient": "bob1@south.test"}, [1, 2, 3, 4]),
        ({"next_hop": "south.test"}, [1, 2]),
        ({"next_hop": "[192.0.2.1]*"}, [3]),
        ({"arrived_before": 1e9 + 10}, [1, 2]),
        ({"arrived_after": 1e9 + 10}, [3, 4]),
        ({"letter": 4, "number": 1}, [4]),
        ({"letter": 4, "number": 2}, []),
        ({"sender": "alice@*", "state": State.ACTIVE}, [2]),
    ],
)
def test_filters_select(busy, conditions, letters):
    assert found(busy, **conditions) == letters
    assert operations.count(busy, Selection(**conditions)) == len(letters)


def test_a_long_list_comes_in_pages(queue):
    queue.letter(1, 5)
    queue.letter(2, 5)
    seen, after = [], (0, 0)
    while page := operations.listing(queue, Selection(), 3, after):
        seen += [(one.letter, one.number) for one in page]
        after = seen[-1]
    assert seen == [(letter, number) for letter in (1, 2) for number in range(1, 6)]


def test_what_is_held_is_not_claimed_until_it_is_released(queue):
    queue.letter(1, due=100)
    (held,) = operations.hold(queue, Selection(letter=1))
    assert held == (1, 1, "bob1@south.test")
    assert operations.hold(queue, Selection()) == []
    assert entries.claim(queue, US, now=1e10, limit=5) == []
    assert operations.retry(queue, Selection(), now=50) == []
    assert len(operations.release(queue, Selection(), now=50)) == 1
    assert len(entries.claim(queue, US, now=50, limit=5)) == 1


def test_an_attempt_under_way_ends_as_usual_although_its_entry_is_held(queue):
    # Given an entry that is held while it is being tried,
    queue.letter(1, 2, holder=US)
    operations.hold(queue, Selection())
    assert entries.renew(queue, US)[0] == set()
    queue.moment += 6
    assert entries.renew(queue, US)[0] == {(1, 1), (1, 2)}
    # then a delivery counts, and a deferral leaves it held.
    assert entries.finish(queue, 1, 1, US)
    assert entries.defer(queue, 1, 2, US, due=0, reason="x", warned=False)
    assert entries.claim(queue, US, now=1e10, limit=5) == []
    assert found(queue, state=State.HELD) == [1]


def test_retry_makes_due_what_waits(queue):
    queue.letter(1, due=5000)
    queue.letter(2, due=10)
    assert [one.letter for one in operations.retry(queue, Selection(), now=100)] == [1]
    assert entries.next_due(queue) == 10
    assert len(entries.claim(queue, US, now=100, limit=5)) == 2


def test_what_is_deleted_is_gone_with_its_content(queue):
    queue.letter(1, 2)
    queue.letter(2)
    assert len(operations.delete(queue, Selection(letter=1, number=1), queue.release)) == 1
    assert queue.released == []
    gone = operations.delete(queue, Selection(recipient="bob2@*"), queue.release)
    assert gone == [(1, 2, "bob2@south.test")]
    assert queue.released == [1]
    assert found(queue) == [2]
