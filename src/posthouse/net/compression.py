"""DEFLATE over a connection, both ways (RFC 4978, RFC 1951): a `Filter` of the pump.

What is unpacked comes out in pieces of the size asked for, and nothing is unpacked before it is asked
for: a few octets that would become gigabytes cost no memory. What is written is flushed each time, so
that nothing waits in the compressor. A session takes about 140 KB for both.
"""

from __future__ import annotations

import zlib

from posthouse.net.session import FilterError

_LEVEL = 6
_SENT_WINDOW = -13
"""Bits of the window of what we send, raw DEFLATE: 8 KiB, a quarter of what a peer has to allow for."""
_SENT_MEMORY = 7
_RECEIVED_WINDOW = -15


class Deflate:
    """The compression of one connection."""

    __slots__ = ("_full", "_packed", "_packer", "_unpacker")

    def __init__(self) -> None:
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _SENT_WINDOW, _SENT_MEMORY)
        self._unpacker = zlib.decompressobj(_RECEIVED_WINDOW)
        self._packed = b""
        self._full = False

    @property
    def waiting(self) -> bool:
        """There is more to read."""
        return self._full or bool(self._packed)

    def receive(self, data: bytes) -> None:
        """Takes octets as they came."""
        self._packed = self._packed + data if self._packed else data

    def read(self, most: int) -> bytes:
        """The next octets that have been sent, `most` of them at most. Raises FilterError."""
        if not self.waiting:
            return b""
        try:
            data = self._unpacker.decompress(self._packed, most)
        except zlib.error as problem:
            raise FilterError(str(problem)) from None
        if self._unpacker.eof:
            raise FilterError("the compressed octets have an end")
        self._packed = self._unpacker.unconsumed_tail
        # zlib may hold more of what it has consumed: it shows only by asking again
        self._full = len(data) == most
        return data

    def send(self, data: bytes) -> bytes:
        """The octets that carry `data`, and nothing held back."""
        return self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)
