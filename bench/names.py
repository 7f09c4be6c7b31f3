"""A name server for the relay by MX look-up: one domain, whose mail goes to one address.

It listens on port 53 of a loopback address, the only port that /etc/resolv.conf can name, and Postfix is
started in a mount namespace in which that file names it. Both need root. Answers are made once for each
question and then repeated, so that the name server is no part of what is measured.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType

from posthouse.pocket.dns import PocketDns

ADDRESS = "127.0.0.3"
_OCTETS = 4096


class Names:
    """Says that `domain` has one MX, `mx.` below it, at `host`. A context manager."""

    def __init__(self, domain: str, host: str) -> None:
        self._records = PocketDns(ttl=3600)
        self._records.add(domain, "MX", f"10 mx.{domain}")
        self._records.add(f"mx.{domain}", "A", host)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((ADDRESS, 53))
        except OSError:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """As [dns] nameservers takes it."""
        return f"{ADDRESS}:53"

    def resolver_namespace(self, folder: Path) -> list[str]:
        """What to put before a command, so that its system resolver asks this server."""
        file = folder / "resolv.conf"
        file.write_text(f"nameserver {ADDRESS}\n")
        file.chmod(0o644)  # Postfix reads it as a user of its own
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, str(file)]

    def _serve(self) -> None:
        answers: dict[bytes, bytes] = {}
        while True:
            query, client = self._socket.recvfrom(_OCTETS)
            if not query:
                return
            rest = answers.get(query[2:])
            if rest is None:
                answer = self._records.answer(query, "udp")
                if answer is None:
                    continue
                rest = answers[query[2:]] = answer[2:]
            self._socket.sendto(query[:2] + rest, client)

    def __enter__(self) -> Names:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (ADDRESS, 53))
        self._thread.join()
        self._socket.close()


def why_not() -> str:
    """Why there can be no `Names` here; empty where there can."""
    if os.geteuid() != 0:
        return "it needs root, for ports 25 and 53 of loopback addresses"
    trial = ["unshare", "--mount", "mount", "--bind", "/etc/resolv.conf", "/etc/resolv.conf"]
    if subprocess.run(trial, check=False, capture_output=True).returncode != 0:
        return "a mount namespace cannot be made here, to give Postfix a name server of its own"
    return ""
