"""What every core has in common: it says things in pieces, and who drives it takes them together."""

from __future__ import annotations


class Speaker:
    """A core that puts what it says into `_output`."""

    __slots__ = ()
    _output: list[bytes]

    def take_output(self) -> bytes:
        """All octets that wait to be written."""
        output = self._output
        if not output:
            return b""
        octets = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return octets
