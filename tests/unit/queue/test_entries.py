"""Entries: exactly one holder, results only from him, and a letter that goes with its last entry."""

from __future__ import annotations

from time import monotonic

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.queue import entries
from tests.databases import scratch
from tests.unit.queue.conftest import Queue

US, THEM = 11, 22


def numbers(claimed):
    return {(entry.letter, entry.number) for one in claimed for entry in one.entries}


def test_a_fresh_entry_is_leased_to_who_made_it(queue):
    before = monotonic()
    until = queue.letter(1, holder=US)
    assert before + 14 < until <= monotonic() + 15
    assert entries.claim(queue, THEM, now=1e10, limit=10) == []
    assert entries.is_mine(queue, 1, 1, US)


def test_entries_are_claimed_when_due_and_by_one_holder_only(queue):
    queue.letter(1, 3, due=50)
    queue.letter(2, due=70)
    assert entries.next_due(queue) == 50
    assert entries.claim(queue, US, now=49, limit=10) == []
    ours = entries.claim(queue, US, now=60, limit=10)
    assert numbers(ours) == {(1, 1), (1, 2), (1, 3)}
    assert entries.next_due(queue) == 70
    assert numbers(entries.claim(queue, THEM, now=80, limit=10)) == {(2, 1)}
    assert entries.next_due(queue) is None


def test_a_claim_brings_all_that_is_known_of_letter_and_entry(queue):
    queue.letter(1, due=50, hop="[192.0.2.1]:2525")
    (claimed,) = entries.claim(queue, US, now=60, limit=10)
    assert claimed.letter == entries.find_letter(queue, 1)
    assert claimed.letter.sender == "alice@north.test"
    assert claimed.letter.prefix == b"Received: x\r\n"
    assert claimed.letter.envid == "xyz"
    (entry,) = claimed.entries
    assert entry == entries.Entry(1, 1, "bob1@south.test", 6, "", "[192.0.2.1]:2525", 0, 0, "")


def test_a_claim_is_bounded_and_reaches_every_slice(queue):
    for n in range(40):
        queue.letter(n << 22, due=10)
    first = entries.claim(queue, US, now=60, limit=15)
    assert len(numbers(first)) == 15
    rest = entries.claim(queue, THEM, now=60, limit=100)
    assert len(numbers(rest)) == 25
    assert not numbers(first) & numbers(rest)


def test_two_holders_begin_in_different_slices(queue):
    for n in range(40):
        queue.letter(n << 22, due=10)
    ours = entries.claim(queue, 8 + 3, now=60, limit=4)
    theirs = entries.claim(queue, 8 + 5, now=60, limit=4)
    assert {(letter >> 22) % entries.SLICES for letter, _ in numbers(ours)} == {3}
    assert {(letter >> 22) % entries.SLICES for letter, _ in numbers(theirs)} == {5}


def test_a_lease_that_is_renewed_lives_and_one_that_is_not_is_taken_over(queue):
    queue.letter(1, holder=US)
    queue.letter(2, holder=THEM)
    queue.moment += 6
    before = monotonic()
    renewed, until = entries.renew(queue, US)
    assert renewed == {(1, 1)}
    assert before + 14 < until <= monotonic() + 15
    queue.moment += 8
    assert not entries.has_expired(queue)
    queue.moment += 2
    assert entries.has_expired(queue)
    assert entries.reclaim(queue) == 1
    assert numbers(entries.claim(queue, US, now=1e10, limit=10)) == {(2, 1)}


def test_a_young_lease_is_not_written_again(queue):
    queue.letter(1, holder=US)
    queue.moment += 1
    assert entries.renew(queue, US)[0] == set()


def test_the_result_of_who_lost_his_lease_does_not_count(queue):
    # Given an entry that was taken over while its holder slept,
    queue.letter(1, holder=US)
    queue.moment += 16
    entries.reclaim(queue)
    entries.claim(queue, THEM, now=1e10, limit=10)
    # when the sleeper wakes, nothing of what he says counts.
    assert not entries.is_mine(queue, 1, 1, US)
    assert not entries.finish(queue, 1, 1, US)
    assert not entries.defer(queue, 1, 1, US, due=5, reason="x", warned=False)
    assert entries.renew(queue, US)[0] == set()
    assert entries.finish(queue, 1, 1, THEM)


def test_a_deferred_entry_is_nobodys_until_it_is_due(queue):
    queue.letter(1, holder=US)
    assert entries.defer(queue, 1, 1, US, due=500, reason="450 4.2.0 busy", warned=True)
    assert queue.rows() == [(1, 1, "active", 500.0, 1, "450 4.2.0 busy", 0)]
    (claimed,) = entries.claim(queue, THEM, now=500, limit=1)
    assert claimed.entries[0].attempts == 1
    assert claimed.entries[0].warned
    assert claimed.entries[0].reason == "450 4.2.0 busy"


def test_a_letter_goes_with_its_last_entry_and_not_before(queue):
    queue.letter(1, 2, holder=US)
    assert entries.in_queue(queue, [1, 2]) == {1}
    entries.finish(queue, 1, 1, US)
    assert not entries.leave(queue, 1, queue.release)
    entries.finish(queue, 1, 2, US)
    assert entries.leave(queue, 1, queue.release)
    assert queue.released == [1]
    assert entries.in_queue(queue, [1]) == set()
    assert not entries.leave(queue, 1, queue.release)


def test_content_that_another_letter_shares_stays(queue):
    queue.letter(1)
    queue.letter(2, content=1)
    queue.run("DELETE FROM queue_entry WHERE letter = 1")
    assert entries.leave(queue, 1, queue.release)
    assert entries.in_queue(queue, [1]) == {1}


def test_what_is_given_back_is_free_at_once(queue):
    queue.letter(1, 2, holder=US)
    queue.letter(2, holder=THEM)
    assert entries.give_back(queue, US) == 2
    assert numbers(entries.claim(queue, THEM, now=1e10, limit=10)) == {(1, 1), (1, 2)}


def test_entries_can_be_added_to_a_letter(queue):
    queue.letter(1, 2)
    assert list(entries.new_numbers(queue, 1, 1)) == [3]
    entries.insert_more(queue, 1, [entries.NewEntry(3, "x@y.test", 0, "", "y.test", "451 later")], due=9)
    assert (1, 3, "active", 9.0, 0, "451 later", 0) in queue.rows()


steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "renew", "reclaim", "sleep", "finish", "defer"]),
        st.sampled_from([US, THEM]),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(steps)
def test_no_entry_ever_has_two_holders_with_a_living_lease(engine, story):
    queue = Queue(scratch(engine))
    for n in range(1, 4):
        queue.letter(n << 22)
    believed = {US: {}, THEM: {}}
    for step, who in story:
        if step == "claim":
            for key in numbers(entries.claim(queue, who, now=1e10, limit=2)):
                believed[who][key] = queue.moment + 15
        elif step == "renew":
            for key in entries.renew(queue, who)[0]:
                believed[who][key] = queue.moment + 15
        elif step == "reclaim":
            entries.reclaim(queue)
        elif step == "sleep":
            queue.moment += 6
        else:
            for key in list(believed[who]):
                if step == "finish":
                    entries.finish(queue, *key, who)
                else:
                    entries.defer(queue, *key, who, due=0, reason="x", warned=False)
                del believed[who][key]
                break
        alive = [{key for key, until in believed[who].items() if until > queue.moment} for who in (US, THEM)]
        assert not alive[0] & alive[1]
    queue.close()
