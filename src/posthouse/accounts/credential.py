"""Credentials: the password of an account, and any application passwords, as argon2id hashes.

A row's version grows with each change and is read anew at each login, so that a password that was
changed or taken away is of no use from the moment of the commit.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from posthouse.accounts.directory import begin_change
from posthouse.accounts.domain import Rows
from posthouse.accounts.problem import AlreadyThere, NotAllowed, no_such
from posthouse.db import Tx
from posthouse.mail.envelope import AccountId

PASSWORD = "password"
"""The label of the one password that the user chose."""

LIMIT = 20
"""Credentials of one account at most: a wrong password is hashed against each."""


class Credential(NamedTuple):
    """One secret that opens an account."""

    account: AccountId
    id: int
    label: str
    secret: str
    """argon2id, as a PHC string."""
    version: int
    created: float
    """Seconds since 1970 UTC; of the last change."""
    scram: str
    """Keys for SCRAM, see `accounts.scram`; or empty."""


_COLUMNS = "account, id, label, secret, version, created, scram"


def of_account(rows: Rows, account: AccountId) -> list[Credential]:
    """All credentials of an account, the password first."""
    sql = f"SELECT {_COLUMNS} FROM credential WHERE account = ? ORDER BY id"
    return [Credential(*row) for row in rows.all(sql, (account,))]


def set_secret(
    tx: Tx, account: AccountId, secret: str, *, now: float, label: str = PASSWORD, scram: str = ""
) -> None:
    """Set the secret called `label`, replacing one of that name. Raises NotAllowed beyond `LIMIT`.

    `scram`: keys of the same password, see `accounts.scram`.
    """
    begin_change(tx)
    changed = tx.count(
        "UPDATE credential SET secret = ?, version = version + 1, created = ?, scram = ? "
        "WHERE account = ? AND label = ?",
        (secret, now, scram, account, label),
    )
    if not changed:
        number, highest = cast(
            "tuple[int, int | None]",
            tx.one("SELECT COUNT(*), MAX(id) FROM credential WHERE account = ?", (account,)),
        )
        if number >= LIMIT:
            raise NotAllowed(f"An account has at most {LIMIT} passwords.")
        tx.run(
            f"INSERT INTO credential ({_COLUMNS}) VALUES (?, ?, ?, ?, 1, ?, ?)",
            (account, 0 if label == PASSWORD else max(highest or 0, 0) + 1, label, secret, now, scram),
        )


def add_application_password(tx: Tx, account: AccountId, label: str, secret: str, *, now: float) -> None:
    """A further secret, for one program. Raises AlreadyThere, NotAllowed."""
    begin_change(tx)
    if not label.strip() or len(label) > 100 or not label.isprintable():
        raise NotAllowed("The name of an application password has 1 to 100 printable characters.")
    if any(credential.label == label for credential in of_account(tx, account)):
        raise AlreadyThere(f"There is a password called {label} already.")
    set_secret(tx, account, secret, now=now, label=label)


def remove(tx: Tx, account: AccountId, label: str) -> None:
    """Take one secret away. Raises NoSuchEntry."""
    begin_change(tx)
    known = [credential.label for credential in of_account(tx, account)]
    if not tx.count("DELETE FROM credential WHERE account = ? AND label = ?", (account, label)):
        raise no_such("password called", label, known)


def upgrade(tx: Tx, credential: Credential, secret: str) -> bool:
    """Replace the hash by a stronger one of the same password; False where it has been changed meanwhile."""
    return bool(
        tx.count(
            "UPDATE credential SET secret = ?, version = version + 1 "
            "WHERE account = ? AND id = ? AND version = ?",
            (secret, credential.account, credential.id, credential.version),
        )
    )


def keep_scram(tx: Tx, credential: Credential, scram: str) -> bool:
    """Keep keys of the same password beside its hash; False where it has been changed meanwhile."""
    return bool(
        tx.count(
            "UPDATE credential SET scram = ? WHERE account = ? AND id = ? AND version = ?",
            (scram, credential.account, credential.id, credential.version),
        )
    )
