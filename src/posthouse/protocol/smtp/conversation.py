"""The replies of an SMTP server session: written, counted where they refuse, 421 after too many such."""

from __future__ import annotations

from posthouse.mail.reply import (
    BAD_SEQUENCE,
    CLOSING,
    COMMAND_UNRECOGNIZED,
    OK,
    RECIPIENT_OK,
    SENDER_OK,
    START_MAIL_INPUT,
    TOO_MANY_ERRORS,
    Reply,
)
from posthouse.protocol.smtp import verbs
from posthouse.protocol.smtp.limits import Limits
from posthouse.protocol.smtp.verbs import Capabilities
from posthouse.protocol.speaker import Speaker

_WIRE = {
    reply: reply.encode()
    for reply in (OK, SENDER_OK, RECIPIENT_OK, START_MAIL_INPUT, CLOSING, BAD_SEQUENCE, COMMAND_UNRECOGNIZED)
}


class Conversation(Speaker):
    """What the server has said, and in which state that leaves the session."""

    __slots__ = ("_capabilities", "_errors", "_idle_commands", "_limits", "_output", "_state", "closing")

    def __init__(self, capabilities: Capabilities, limits: Limits) -> None:
        self._capabilities = capabilities
        self._limits = limits
        self._output: list[bytes] = []
        self._errors = 0
        self._idle_commands = 0
        """Since the last letter, or the beginning."""
        self._state = verbs.GREETED
        self.closing = False
        """Write the output and close."""

    def _say(self, reply: Reply) -> None:
        self._output.append(_WIRE.get(reply) or reply.encode())
        if reply.code == 421:  # RFC 5321 §3.8: 421 means that we close
            self.closing = True

    def _refuse(self, reply: Reply) -> None:
        """Say no, and count it, unless the trouble is ours (RFC 3463 §3.4: 4.3.x)."""
        self._errors += not reply.enhanced.startswith("4.3.")
        self._say(TOO_MANY_ERRORS if self._errors > self._limits.errors else reply)

    def _settle(self, reply: Reply) -> bool:
        """Say the driver's reply. Whether it was a yes."""
        if reply.code < 400:
            self._say(reply)
            return True
        self._refuse(reply)
        return False
