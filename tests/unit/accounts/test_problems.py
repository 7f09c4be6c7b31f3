"""What is not there is told with what was probably meant."""

from __future__ import annotations

import pytest

from posthouse.accounts.problem import no_such

KNOWN = ["bob@example.org", "carol@example.org", "carol@example.net"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("carl@example.org", "Did you mean carol@example.org or carol@example.net?"),
        ("nobody@example.org", ""),
        ("info@example.org", ""),
        ("bob@exmaple.org", "Did you mean bob@example.org?"),
    ],
)
def test_addresses_are_not_alike_because_their_domain_is(name: str, hint: str) -> None:
    assert no_such("account", name, KNOWN).hint == hint
