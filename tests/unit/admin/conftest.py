from tests.unit.accounts.conftest import empty, world

__all__ = ["empty", "world"]
