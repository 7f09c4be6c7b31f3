"""Strange mail is shown as Dovecot shows it, but where there is a reason not to."""

from __future__ import annotations

import pytest

from tests.beside import made_up
from tests.beside.fetched import Difference, differences, fill
from tests.beside.known import LETTERS, RULES, rule_for
from tests.beside.letters import CORPUS
from tests.beside.wire import Pair

pytestmark = pytest.mark.debian("dovecot", "dovecot-pop3d")


def test_strange_letters_are_fetched_as_from_dovecot(imap: Pair) -> None:
    fill(imap, CORPUS.values())
    imap.do(b"SELECT INBOX")

    found = [(one, rule_for(one)) for one in differences(imap, CORPUS)]

    assert not told([one for one, rule in found if rule is None and one.name not in LETTERS])
    # what is written down as a difference is one
    assert {rule.name for _, rule in found if rule} == {rule.name for rule in RULES}
    assert {one.name for one, rule in found if rule is None} == set(LETTERS)


@pytest.mark.parametrize("seed", range(3))
def test_letters_made_up_of_strange_stuff_are_fetched_as_from_dovecot(imap: Pair, seed: int) -> None:
    letters = made_up.letters(seed)
    fill(imap, letters.values())
    imap.do(b"SELECT INBOX")

    assert not told([one for one in differences(imap, letters) if rule_for(one) is None])


def told(differences: list[Difference]) -> str:
    return "\n".join(f"{one}\n  letter {one.letter!r}" for one in differences[:10])
