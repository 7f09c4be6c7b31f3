"""One connection to PostgreSQL, in pipeline mode: statements go out, answers are awaited when asked for.

`run`, `many` do not wait: what went wrong with them is told by the next `one`, `all` or `count`, at the
latest by `settle`. So a transaction costs as many round trips as it asks questions. Values travel as text
whose type PostgreSQL infers, octets as they are; rows come back in binary. Each statement is parsed once
per connection.

An error ends the transaction, up to a savepoint: every statement fails until `ROLLBACK` or `ROLLBACK TO`.
A connection that breaks is made again by `open`; nothing here repeats a statement by itself.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from time import monotonic
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.adapt import AdaptersMap, Buffer, Transformer
from psycopg.types.numeric import NumericBinaryLoader

from posthouse.db import dialect
from posthouse.db.errors import DatabaseAway, DatabaseError, DiskFull, UndefinedTable, UniqueViolation
from posthouse.db.interface import Parameters, Question, Row
from posthouse.db.limits import USUAL, Limits
from posthouse.db.postgres_conninfo import Reach, conninfo

STATEMENTS: Final = 512
"""Statements kept parsed per connection; further ones are parsed each time."""
OUTSTANDING: Final = 256
"""Answers that may be outstanding."""
ROWS_AT_ONCE: Final = 500
MARGIN_SECONDS: Final = 2.0
"""How much longer than for its statements a server that says nothing is waited for."""
CLOCK_SECONDS: Final = 0.5
"""How long asking for the clock may take for the answer to count."""

_CLOCK = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"

_AWAY = ("08", "53", "57", "58", "XX")
"""Classes of SQLSTATE: connection, resources, operator intervention, system, internal."""
_CONFLICTS = ("40001", "40P01")
READ_ONLY: Final = "25006"
"""The transaction, or the whole server, allows no writing."""
_STALE_PLANS = ("0A000", "26000")
CLOSED_STATE: Final = "PH451"
"""A table is closed for a transfer to another database (`db.transfer`)."""


class ConnectionLost(DatabaseAway):
    """The connection broke; whether what was sent has been done is unknown."""


class Conflict(DatabaseError):
    """Another transaction was in the way (serialization failure, deadlock): the whole may be tried again."""


class _Number(NumericBinaryLoader):
    """`sum` of integers is NUMERIC; everybody wants an integer."""

    def load(self, data: Buffer) -> Any:
        return int(super().load(data))


class _Context:
    """How psycopg finds our loaders."""

    def __init__(self) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)
        self.adapters.register_loader("numeric", _Number)
        self.connection = None


_CONTEXT = _Context()


def _settings(limits: Limits) -> tuple[str, ...]:
    statement = round(limits.statement_timeout * 1000)
    return (
        f"SET statement_timeout = {statement}",
        f"SET lock_timeout = {statement // 2}",
        "SET client_min_messages = warning",
        # What a host that stops in the middle of a transaction has locked is free before others give up.
        f"SET idle_in_transaction_session_timeout = {statement // 4}",
        # So it is where its connection breaks and nobody tells the server.
        "SET tcp_keepalives_idle = 3",
        "SET tcp_keepalives_interval = 1",
        "SET tcp_keepalives_count = 3",
        # 250 means durable, whatever the server is set to for others.
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'",
    )


def _octets_of(text: str) -> bytes:
    if "\0" in text:
        # libpq would end the value there and say nothing.
        raise DatabaseError("PostgreSQL keeps no NUL in texts")
    return text.encode()


def _text(value: object) -> bytes | None:
    """A parameter that is none of the usual types."""
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, str):
        return _octets_of(value)
    raise TypeError(f"{type(value).__name__} is no value for a database")


_ENCODE: dict[type, Any] = {
    int: lambda value: b"%d" % value,
    str: _octets_of,
    float: lambda value: repr(value).encode(),
    bool: lambda value: b"1" if value else b"0",
    type(None): lambda value: None,
}
_OCTETS = {bytes, bytearray, memoryview}


class _Answer:
    """What a statement that was sent will come to."""

    __slots__ = ("parsed", "result", "sync")

    def __init__(self, parsed: str = "", *, sync: bool = False) -> None:
        self.sync = sync
        """Nothing but the end of what was sent until then."""
        self.parsed = parsed
        """The SQL that is being parsed; empty: one is executed."""
        self.result: Any = None


class _Opened(psycopg.Connection[Any]):
    """A connection as psycopg makes it: `pq.PGconn.connect` would keep all other threads from running."""

    def __del__(self, __warn: Any = None) -> None:
        """Whoever lets go of a session lets go of its connection; psycopg would warn of that."""


class PostgresSession:
    """Statements on one connection: a `Tx` for the writer, a `Reader` for the others."""

    def __init__(self, url: str, limits: Limits = USUAL, reach: Reach | None = None) -> None:
        """Does not connect yet. `reach` is what the connections of a process share."""
        self._conninfo = conninfo(url, limits)
        self._limits = limits
        self._patience = 0.0
        self._reach = reach or Reach()
        self._opened: _Opened | None = None
        self._connection: Any = None
        """Its protocol, which is spoken directly."""
        self._poll = select.poll()
        self._names: dict[str, bytes] = {}
        self._numbers = count()
        self._answers: deque[_Answer] = deque()
        self._unsettled = False
        self._rows = Transformer(_CONTEXT)
        self._clock: tuple[_Answer, float] | None = None
        self._offset: float | None = None
        self.failed: DatabaseError | None = None
        """The first error since `forgive`."""
        self.warned = False
        """The server has warned of something; whoever wants to know sets it back."""

    # Life

    @property
    def _settings(self) -> tuple[str, ...]:
        """What each connection begins with."""
        return _settings(self._limits)

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def open(self) -> None:
        """Connect if there is no connection. Raises DatabaseAway."""
        if self._connection is not None:
            return
        self._reach.require()
        try:
            self._connect()
        except DatabaseError as error:
            self.close()
            self._reach.failed(str(error))
            raise DatabaseAway(str(error)) from error

    def _connect(self) -> None:
        try:
            self._opened = _Opened.connect(self._conninfo, autocommit=True)
        except psycopg.Error as error:
            raise DatabaseAway(" ".join(str(error).split())) from error
        self._opened.add_notice_handler(self._notice)
        connection = self._opened.pgconn
        connection.nonblocking = 1
        connection.enter_pipeline_mode()
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection.socket, select.POLLIN)
        self.forgive()
        self._patience = self._limits.connect_timeout
        for sql in self._settings:
            self._send(sql, (), keep=False)
        self.settle()
        self._patience = self._limits.statement_timeout + MARGIN_SECONDS

    def close(self) -> None:
        """Let go of the connection; the server undoes what was not committed."""
        self._connection = None
        opened, self._opened = self._opened, None
        self._names.clear()
        self._answers.clear()
        self._clock = self._offset = None
        if opened is not None:
            opened.close()

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        self.warned = self.warned or notice.severity_nonlocalized == "WARNING"

    def forgive(self) -> None:
        """A new transaction begins, or a savepoint has undone the failed part."""
        self.failed = None

    def roll_back(self) -> None:
        """Undo the transaction; where that cannot be, the connection goes, and the transaction with it."""
        if not self.is_open:
            return
        try:
            self.forgive()
            self.run("ROLLBACK")
            self.settle()
        except DatabaseError:
            self.close()

    # Statements

    def run(self, sql: str, params: Parameters = ()) -> None:
        self._send(sql, params)

    def many(self, sql: str, rows: Iterable[Parameters]) -> None:
        for row in rows:
            self._send(sql, row)

    def one(self, sql: str, params: Parameters = ()) -> Row | None:
        result = self._ask(sql, params)
        if not result.ntuples:
            return None
        self._rows.set_pgresult(result)
        return self._rows.load_row(0, tuple)

    def all(self, sql: str, params: Parameters = ()) -> list[Row]:
        return self._rows_of(self._ask(sql, params))

    def ask(self, questions: Sequence[Question]) -> list[list[Row]]:
        answers = [self._send(sql, params) for sql, params in questions]
        if any(answer.result is None for answer in answers):
            self._collect()
        return [self._rows_of(answer.result) for answer in answers]

    def each(self, sql: str, params: Parameters = ()) -> Iterator[Row]:
        name = f"each{next(self._numbers)}"
        self._send(f"DECLARE {name} NO SCROLL CURSOR FOR {sql}", params, keep=False)
        fetch = f"FETCH {ROWS_AT_ONCE} FROM {name}"
        while rows := self.all(fetch):
            yield from rows
        self.run(f"CLOSE {name}")

    def count(self, sql: str, params: Parameters = ()) -> int:
        return int(self._ask(sql, params).command_tuples or 0)

    def lock(self, table: str, key: str, ids: Sequence[int]) -> None:
        if ids:
            self._send(
                f"SELECT {key} FROM {table} WHERE {key} = ANY(CAST(? AS BIGINT[])) ORDER BY {key} FOR UPDATE",
                ("{" + ",".join(map(str, ids)) + "}",),
            )

    def now(self) -> float:
        if self._offset is None:
            self._read_clock()
            assert self._offset is not None
        return self._offset + monotonic()

    def settle(self) -> None:
        """Wait until everything sent has been done; outside of a transaction, until it is durable.

        Raises the first error.
        """
        if self._unsettled and self._connection is not None:
            self._collect(sync=True)
            self._unsettled = False
        if self.failed is not None:
            raise self.failed

    def push(self) -> None:
        """Have what was sent done, without waiting for it."""
        try:
            self._connection.pipeline_sync()
            self._answers.append(_Answer(sync=True))
            self._unsettled = False
            self._connection.flush()
        except psycopg.Error as error:
            raise self._lost(str(error)) from error

    # The clock

    @property
    def clock_is_here(self) -> bool:
        """Whether what was said to tell the clock has been answered."""
        return self._clock is not None and self._clock[0].result is not None

    def expect_clock(self, sql: str, params: Parameters = ()) -> None:
        """Send a statement whose one value is the server's clock; `now` goes by it until the next."""
        self._offset = None
        self._clock = self._send(sql, params), monotonic()

    def forget_clock(self) -> None:
        self._clock = self._offset = None

    def _read_clock(self) -> None:
        """The server's clock less our monotonic one: never too small, by `CLOCK_SECONDS` too large at most.

        A lease counted from it lasts at least as long as its holder believes.
        """
        if self._clock is None:
            self.expect_clock(_CLOCK)
        while True:
            assert self._clock is not None
            answer, asked = self._clock
            if answer.result is None:
                self._collect()
            if monotonic() - asked <= CLOCK_SECONDS:
                break
            self.expect_clock(_CLOCK)
        self._rows.set_pgresult(answer.result)
        row: Any = self._rows.load_row(0, tuple)
        self._offset = float(row[0]) - asked

    def _rows_of(self, result: Any) -> list[Row]:
        self._rows.set_pgresult(result)
        return self._rows.load_rows(0, result.ntuples, tuple)

    # The pipeline

    def _send(self, sql: str, params: Parameters, *, keep: bool = True) -> _Answer:
        if self.failed is not None:
            raise self.failed
        connection = self._connection
        if connection is None:
            raise self._lost("the connection is closed")
        values: list[bytes | None] = []
        formats: list[int] = []
        for value in params:
            encode = _ENCODE.get(type(value))
            if encode is not None:
                values.append(encode(value))
                formats.append(0)
            elif type(value) in _OCTETS:
                values.append(bytes(value))  # type: ignore[call-overload]  # one of _OCTETS
                formats.append(1)
            else:
                values.append(_text(value))
                formats.append(0)
        try:
            name = self._names.get(sql)
            if name is None:
                name = self._parse(sql, keep)
            connection.send_query_prepared(name, values, formats, 1)
        except psycopg.Error as error:
            raise self._lost(str(error)) from error
        self._unsettled = True
        answer = _Answer()
        self._answers.append(answer)
        if len(self._answers) >= OUTSTANDING:
            self._collect()
        return answer

    def _parse(self, sql: str, keep: bool) -> bytes:
        """Send the statement to be parsed; its name."""
        name = b""
        if keep and len(self._names) < STATEMENTS:
            name = self._names[sql] = b"s%d" % next(self._numbers)
        self._connection.send_prepare(name, dialect.numbered(sql).encode())
        self._answers.append(_Answer(sql))
        return name

    def _ask(self, sql: str, params: Parameters) -> Any:
        answer = self._send(sql, params)
        if answer.result is None:
            self._collect()
        return answer.result

    def _collect(self, *, sync: bool = False) -> None:
        """Wait for all answers that are outstanding. Raises the first error."""
        connection = self._connection
        error: DatabaseError | None = None
        try:
            if sync:
                connection.pipeline_sync()
            else:
                connection.send_flush_request()
            while self._answers:
                answer = self._answers.popleft()
                result = self._next_result(answer.sync)
                if answer.sync:
                    continue
                status = result.status
                if status == pq.ExecStatus.TUPLES_OK or status == pq.ExecStatus.COMMAND_OK:
                    answer.result = result
                    continue
                self._names.pop(answer.parsed, None)
                if error is None:
                    error = self._fail(result)
                    if self._connection is None:
                        raise error
                    if not sync:
                        # From an error on the server passes over everything up to a sync.
                        connection.pipeline_sync()
                        sync = True
            if sync:
                self._next_result(sync=True)
        except psycopg.Error as lost:
            raise self._lost(str(lost)) from lost
        if error is not None:
            raise error

    def _fail(self, result: Any) -> DatabaseError:
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"08000").decode()
        severity = result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED)
        text = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode()
        error = self._explain(state, text)
        if isinstance(error, ConnectionLost) or severity in (b"FATAL", b"PANIC"):
            return self._lost(str(error))
        self.failed = error
        return error

    def _explain(self, state: str, text: str) -> DatabaseError:
        """An SQLSTATE and its message in our words."""
        if state == "23505":
            return UniqueViolation(text)
        if state == "42P01":
            return UndefinedTable(text)
        if state == "53100":
            return DiskFull(text)
        if state in _CONFLICTS:
            return Conflict(text)
        if state.startswith("57P") or state in _STALE_PLANS:
            return ConnectionLost(text)
        if state[:2] in _AWAY or state in ("55P03", CLOSED_STATE):
            return DatabaseAway(text)
        return DatabaseError(text)

    def _lost(self, text: str) -> ConnectionLost:
        self.close()
        error = self.failed = ConnectionLost(text.strip())
        return error

    def _next_result(self, sync: bool = False) -> Any:
        connection = self._connection
        if connection.flush() or connection.is_busy():
            self._wait()
        result = connection.get_result()
        if result is None:
            raise psycopg.OperationalError("the server sent no result")
        if not sync:
            connection.get_result()
        return result

    def _wait(self) -> None:
        """Until the next result is here."""
        connection = self._connection
        deadline = monotonic() + self._patience
        sending = connection.flush()
        while sending or connection.is_busy():
            self._poll.modify(connection.socket, select.POLLIN | (select.POLLOUT if sending else 0))
            ready = self._poll.poll(max(0.0, deadline - monotonic()) * 1000)
            if not ready:
                raise psycopg.OperationalError("the server does not answer")
            if ready[0][1] & ~select.POLLOUT:
                connection.consume_input()
            if sending:
                sending = connection.flush()
