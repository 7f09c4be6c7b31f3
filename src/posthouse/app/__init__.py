"""The composition root: builds every object from the configuration; the only place that knows all rooms.

`serve` opens the sockets and forks workers by the supervisor; a `Worker` is one process's share of the
program: it serves every protocol and runs its part of the queue in one loop. Tests build a `Worker` in
their own process, on a clock of their own.
"""

from posthouse.app.program import serve
from posthouse.app.worker import Worker

__all__ = ["Worker", "serve"]
