"""Previews: how the text of each email begins, kept once it has been found out (RFC 8970).

The first who asks has them found out; of what comes later to his account the indexer does it in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from posthouse.store.uids import listed

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId


CHARACTERS = 200
"""RFC 8970 §3.3; 256 would be too many."""


def wanted(reader: Reader, account: AccountId) -> bool:
    """Whether previews have been asked for."""
    return reader.one("SELECT 1 FROM preview WHERE account = ? LIMIT 1", (account,)) is not None


def keep(tx: Tx, account: AccountId, texts: Mapping[int, str]) -> None:
    """Keep the previews of emails, by id; of those that have gone meanwhile nothing is kept."""
    tx.many(
        "INSERT INTO preview (account, email, text) SELECT account, id, CAST(? AS TEXT) FROM email"
        " WHERE account = ? AND id = ? ON CONFLICT (account, email) DO NOTHING",
        [(text, account, email) for email, text in texts.items()],
    )


def forget(tx: Tx, account: AccountId, emails: Iterable[int]) -> None:
    """These emails are gone."""
    for condition, some in listed(sorted(emails), "email"):
        tx.run(f"DELETE FROM preview WHERE account = ? AND {condition}", (account, *some))
