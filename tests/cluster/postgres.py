"""PostgreSQL as a cluster has it: a primary and two synchronous standbys, and who promotes one of them.

Each of the three may become the primary. A commit waits for one of the two others (`ANY 1`), so that one
standby may die, and whatever was committed is on at least one of them: `fail_over` promotes the one that
has received more, as Patroni and its like do. The standbys come from pg_basebackup; a primary that died
comes back by pg_rewind.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from tests.databases import end_with_us, free_ports, left_out, postgres_programs, postgres_user

NAMES = ("one", "two", "three")
PATIENCE = 60.0
SETTINGS = {
    "synchronous_standby_names": "ANY 1 ({})".format(", ".join(NAMES)),
    "hot_standby": "on",
    "wal_keep_size": "1GB",
    "wal_retrieve_retry_interval": "200ms",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "jit": "off",
    # A host that is gone without a word keeps no locks for long.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
}


class Node:
    """One server of the three."""

    def __init__(self, cluster: Postgres, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self.data = cluster.directory / name
        self._cluster = cluster
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        cluster = self._cluster
        # A standby tells its primary its cluster_name.
        own = [f"--cluster-name={self.name}", "-h", cluster.address, "-p", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [cluster.programs / "postgres", "-D", self.data, "-k", cluster.directory, *own],
                cwd=cluster.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_us,
                start_new_session=True,
                **cluster.user,
            )
        ready = [cluster.programs / "pg_isready", "-q", "-h", cluster.address, "-p", str(self.port)]
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(ready, check=False, timeout=PATIENCE).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.log.read_text())
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9 of all its processes at once, as if the machine lost power."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    @property
    def log(self) -> Path:
        return self._cluster.directory / f"{self.name}.log"

    def follow(self, primary: Node) -> None:
        """Take the log from `primary` from now on; takes effect with a start or reload."""
        (self.data / "standby.signal").touch()
        with (self.data / "postgresql.auto.conf").open("a") as conf:
            conf.write(
                f"primary_conninfo = 'host={self._cluster.address} port={primary.port} user=posthouse'\n"
            )

    def ask(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        where = f"host={self._cluster.address} port={self.port} user=posthouse dbname=postgres"
        with psycopg.connect(where, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(sql, values)
            return cursor.fetchall() if cursor.description else []


class Postgres:
    """The three of them, at `address`."""

    def __init__(self, address: str, clients: str) -> None:
        """`clients`: the network from which anybody may connect."""
        programs = postgres_programs()
        if programs is None:
            left_out("PostgreSQL")
        assert programs is not None
        self.programs = programs
        self.address = address
        self.directory = Path(tempfile.mkdtemp(prefix="posthouse-pg-"))
        self.user = postgres_user()
        if self.user:
            os.chown(self.directory, self.user["user"], self.user["group"])
        self.nodes = [
            Node(self, name, port) for name, port in zip(NAMES, free_ports(len(NAMES), address), strict=True)
        ]
        self.primary = self.nodes[0]
        try:
            self._begin(clients)
        except BaseException:
            self.stop()
            raise

    def _begin(self, clients: str) -> None:
        primary = self.primary
        self._run(
            "initdb", "-D", primary.data, "-U", "posthouse", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"
        )
        with (primary.data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {clients} trust\n")
            rules.write(f"host replication all {clients} trust\n")
        with (primary.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        primary.start()
        for node in self.nodes[1:]:
            self._run(
                "pg_basebackup", "-D", node.data, *self._at(primary), "-X", "stream", "-c", "fast", "-N"
            )
            node.follow(primary)
            node.start()
        self.wait_for_standbys(2)

    def _at(self, node: Node) -> tuple[str, ...]:
        return "-h", self.address, "-p", str(node.port), "-U", "posthouse"

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.directory,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            **self.user,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")

    def wait_for_standbys(self, number: int) -> None:
        """Until so many follow the primary."""
        deadline = time.monotonic() + PATIENCE
        sql = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'quorum'"
        while self.primary.ask(sql)[0][0] < number:
            if time.monotonic() > deadline:
                raise RuntimeError("\n".join(node.log.read_text() for node in self.nodes))
            time.sleep(0.02)

    def fail_over(self) -> None:
        """kill -9 the primary; promote the standby that knows more; the other follows it."""
        dead = self.primary
        dead.kill()
        standbys = [node for node in self.nodes if node is not dead]
        position = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')"
        standbys.sort(key=lambda node: int(node.ask(position)[0][0]))
        other, self.primary = standbys
        assert self.primary.ask("SELECT pg_promote(true, 60)") == [(True,)]
        other.follow(self.primary)
        other.ask("SELECT pg_reload_conf()")

    def bring_back(self) -> None:
        """Whoever died is a standby again, without what it alone had written."""
        for node in self.nodes:
            if node.process is None:
                source = f"host={self.address} port={self.primary.port} user=posthouse dbname=postgres"
                self._run("pg_rewind", "-D", node.data, f"--source-server={source}", "-N")
                node.follow(self.primary)
                node.start()
        self.wait_for_standbys(2)

    def ask(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a query to the primary."""
        return self.primary.ask(sql, values)

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
