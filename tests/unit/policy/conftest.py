from tests.unit.accounts.conftest import empty, world
from tests.unit.routing.conftest import database_url

__all__ = ["database_url", "empty", "world"]
