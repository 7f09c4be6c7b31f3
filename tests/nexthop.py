"""A next hop that takes letters only when the test says so, in threads of its own."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from types import TracebackType
from typing import cast


class NextHop:
    """Keeps each letter waiting, at DATA (`at_data`) or at its final dot, until `go_on` is set."""

    def __init__(self, *, at_data: bool = False) -> None:
        self.at_data = at_data
        self.asked = threading.Event()
        """Somebody waits for a reply."""
        self.go_on = threading.Event()
        self.letters: list[bytes] = []
        """What was answered 250."""
        self.broken_off: list[bytes] = []
        """What came of a letter until its sender went away."""
        self._server = _Server(("127.0.0.1", 0), _Session)
        self._server.hop = self
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> NextHop:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self) -> None:
        self.asked.set()
        self.go_on.wait(120)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    hop: NextHop


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._talk(cast(_Server, self.server).hop)

    def _talk(self, hop: NextHop) -> None:
        self.wfile.write(b"220 next.test ESMTP\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"QUIT":
                self.wfile.write(b"221 2.0.0 Bye\r\n")
                return
            if verb != b"DATA":
                self.wfile.write(b"250 2.0.0 next.test\r\n")
                continue
            if hop.at_data:
                hop.wait()
            self.wfile.write(b"354 Go on\r\n")
            content = self._content()
            if content is None:
                return
            if not hop.at_data:
                hop.wait()
            hop.letters.append(content)
            self.wfile.write(b"250 2.0.0 Ok\r\n")

    def _content(self) -> bytes | None:
        """The letter; None where it ended without its final dot."""
        lines = []
        while line := self.rfile.readline():
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line)
        cast(_Server, self.server).hop.broken_off.append(b"".join(lines))
        return None
