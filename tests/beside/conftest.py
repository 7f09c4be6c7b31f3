"""One Posthouse and one Dovecot for all; a user of both, of whom no other test knows, for whoever asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.beside import servers
from tests.beside.servers import USERS, Both
from tests.beside.wire import Pair
from tests.dovecot import Dovecot
from tests.servers import ServeProcess

_users = iter(USERS)


@pytest.fixture(scope="session")
def posthouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    with servers.posthouse(tmp_path_factory.mktemp("beside")) as server:
        yield server


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    server = servers.dovecot()
    yield server
    server.stop()


@pytest.fixture
def both(posthouse: ServeProcess, dovecot: Dovecot) -> Both:
    return Both(posthouse, dovecot, next(_users))


@pytest.fixture
def imap(both: Both) -> Iterator[Pair]:
    pair = both.imap()
    yield pair
    pair.close()
