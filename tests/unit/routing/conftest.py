import pytest

from tests.databases import SQLITE_URL
from tests.unit.accounts.conftest import empty, world

__all__ = ["empty", "world"]


@pytest.fixture
def database_url() -> str:
    """A database that answers at once: one that does not is `test_any_directory`'s matter."""
    return SQLITE_URL
