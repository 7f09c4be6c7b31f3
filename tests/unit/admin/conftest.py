from tests.unit.accounts.conftest import database_url, empty, engine, world

__all__ = ["database_url", "empty", "engine", "world"]
