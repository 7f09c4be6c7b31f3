"""Strange mail is shown as Dovecot shows it, but where there is a reason not to."""

from __future__ import annotations

import pytest

from tests.beside import made_up
from tests.beside.fetched import Difference, by_message, differences, fill
from tests.beside.known import LETTERS, RULES, rule_for
from tests.beside.letters import CORPUS, ENCODED
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


def test_encoded_parts_are_decoded_as_by_dovecot(imap: Pair) -> None:
    fill(imap, ENCODED.values())
    imap.do(b"SELECT INBOX")
    refused = set()
    for number, name in enumerate(ENCODED, 1):
        for item in (b"BINARY.PEEK[1]", b"BINARY.SIZE[1]", b"BINARY.PEEK[1]<2.3>"):
            ours, theirs = imap.do(b"FETCH %d %b" % (number, item))
            if ours.condition == "OK" and theirs.condition == "NO":
                refused.add(name)
                continue
            assert (ours.condition, ours.code) == (theirs.condition, theirs.code), name
            if ours.condition == "OK":
                assert by_message(ours) == by_message(theirs), name
    # RFC 2045 §6.8: characters outside of the alphabet are passed over. Dovecot gives up on the part.
    assert {name.partition(",")[0] for name in refused} == {"base64", "quoted-printable"}
    assert len(refused) == 4


def told(differences: list[Difference]) -> str:
    return "\n".join(f"{one}\n  letter {one.letter!r}" for one in differences[:10])
