from tests.unit.routing.conftest import database_url, empty, engine, world

__all__ = ["database_url", "empty", "engine", "world"]
