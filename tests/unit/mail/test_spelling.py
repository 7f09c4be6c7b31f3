"""Words with typing errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail import spelling
from posthouse.mail.casefold import fold

LETTERS = st.sampled_from("abé한")
WORDS = st.text(LETTERS, min_size=4, max_size=12)


def test_words_are_runs_of_letters() -> None:
    text = fold("Hello, Wörld! a_b_c_d abcd1 x1y2z3 the résumé 北京大学 한국사람 über-groß")
    assert spelling.words_of(text) == {"hello", "wörld", "résumé", "한국사람", "über", "gross"}


@pytest.mark.parametrize(
    ("word", "edits"),
    [
        ("ab", 0),
        ("abc", 0),
        ("abcd", 1),
        ("abcdefg", 1),
        ("abcdefgh", 2),
        ("ab12", 0),
        ("x" * 25, 0),
        ("한국", 0),
    ],
)
def test_short_words_have_no_mistakes_and_long_ones_two(word: str, edits: int) -> None:
    assert spelling.edits_of(fold(word)) == edits


@pytest.mark.parametrize(
    ("sought", "word", "found"),
    [
        ("helo", "hello", 1),
        ("helo", "help", 1),
        ("hlelo", "hello", 1),  # exchanged
        ("helo", "heal", None),
        ("meetign", "meetings", 1),  # whatever its ending
        ("conferense", "conference", 1),
        ("confrense", "conference", 2),
        ("confrnse", "conference", None),
        ("helo", "helpless", None),
    ],
)
def test_the_distance_is_that_of_typing_errors(sought: str, word: str, found: int | None) -> None:
    assert spelling.distance(sought, word, spelling.edits_of(sought)) == found


@given(WORDS, WORDS)
def test_what_is_near_has_one_of_the_pieces(sought: str, word: str) -> None:
    distance = spelling.distance(sought, word, 1)
    if distance is not None and spelling.edits_of(sought) == 1:
        least, most = spelling.lengths_of(sought)
        assert len(word) <= most
        assert any(piece in word for piece in spelling.pieces_of(sought))
        assert len(word) >= least


@given(WORDS, st.data())
def test_one_mistake_is_found(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word) - 1))
    letter = data.draw(LETTERS)
    wrong = data.draw(
        st.sampled_from(
            [
                word[:at] + word[at + 1 :],
                word[:at] + letter + word[at:],
                word[:at] + letter + word[at + 1 :],
                word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :],
            ]
        )
    )
    if spelling.edits_of(wrong):
        assert spelling.distance(wrong, word, 1) in (0, 1)


def test_of_scripts_without_spaces_one_character_of_four_may_be_wrong() -> None:
    assert spelling.parts_of("北京") == []
    assert spelling.parts_of("北京大学") == [("京大学",), ("北京大",)]
    assert spelling.parts_of("北京大学生") == [("京大学生",), ("北京大学",), ("北京", "学生")]
