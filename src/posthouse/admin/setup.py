"""Make a new installation: directories, database, the first domain and its administrator."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from posthouse.accounts import account as accounts
from posthouse.accounts import credential as credentials
from posthouse.accounts import domain as domains
from posthouse.accounts import scram
from posthouse.accounts.password import hash_password, prepare
from posthouse.db import open_database
from posthouse.store import mailboxes

if TYPE_CHECKING:
    from posthouse.accounts.account import Account
    from posthouse.config import Config
    from posthouse.db import Tx


async def initialise(config: Config, domain: str, admin: str, password: str) -> Account:
    """Make the data directory and the database that `config` names, and `admin` (an address) in `domain`.

    All of the database or nothing; the directories stay. Raises AlreadyThere where the database has
    the domain or the account, NotAllowed, PasswordError, OSError, DatabaseError.
    """
    prepared = prepare(password)
    secret, keys = hash_password(prepared), scram.derive(prepared, config.accounts.auth_mechanisms)
    _make_directories(config.data_directory)
    now = time.time()

    def fill(tx: Tx) -> Account:
        domains.add(tx, domain, now=now)
        account = accounts.add(tx, admin, now=now, admin=True)
        credentials.set_secret(tx, account.id, secret, now=now, scram=keys)
        mailboxes.create_defaults(tx, account.id, now)
        return account

    database = open_database(config.database.url, config.data_directory)
    try:
        return await database.write([], fill)
    finally:
        await database.close()


def _make_directories(data: Path) -> None:
    data.mkdir(mode=0o711, parents=True, exist_ok=True)
    run = data / "run"
    run.mkdir(exist_ok=True)
    # `posthouse sendmail` of any user reaches the submission socket in there, and sees nothing else.
    os.chmod(run, 0o711)
