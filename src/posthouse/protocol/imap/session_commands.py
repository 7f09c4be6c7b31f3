"""The commands that a session answers itself: they concern no mailbox, only what client and server agreed on.

One function per command, from the session and the command to its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from posthouse.mail import collation
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.commands import Command
from posthouse.protocol.imap.events import Result
from posthouse.protocol.imap.offers import Offers
from posthouse.protocol.imap.syntax import mailbox_octets
from posthouse.protocol.imap.verbs import CAPABILITIES, State
from posthouse.protocol.language import LANGUAGES, chosen, translated_name

if TYPE_CHECKING:
    from posthouse.protocol.imap.server import ServerSession


def capabilities(session: ServerSession) -> str:
    """What CAPABILITY says now."""
    if session.state is State.NOT_AUTHENTICATED:
        starttls = session.tls_available and not session.secure
        return _before_login(session.offers, starttls, session.mechanisms, session.takes_passwords)
    return _after_login(session.offers)


@lru_cache(maxsize=16)
def _before_login(offers: Offers, starttls: bool, mechanisms: Sequence[str], passwords: bool) -> str:
    names = [*CAPABILITIES, *offers.names()]
    if starttls:
        names.append("STARTTLS")
    names += [f"AUTH={mechanism}" for mechanism in mechanisms]
    if not passwords:
        names.append("LOGINDISABLED")
    return " ".join(names)


@lru_cache(maxsize=16)
def _after_login(offers: Offers) -> str:
    names = [*CAPABILITIES, *offers.names()]
    # they say something only to those who have logged in
    if offers.unauthenticate:
        names.append("UNAUTHENTICATE")  # RFC 8437 §2
    names.append("COMPRESS=DEFLATE")  # RFC 4978 §2
    return " ".join(names)


def _capability(session: ServerSession, command: Command) -> Result:
    return Result("OK", "CAPABILITY completed", "", f"* CAPABILITY {capabilities(session)}\r\n".encode())


def _logout(session: ServerSession, command: Command) -> Result:
    session.closing = True
    return Result("OK", "LOGOUT completed", "", b"* BYE Logging out\r\n")


def _id(session: ServerSession, command: Command) -> Result:
    # No version and no system: that would only help those who look for a hole (RFC 2971 §4).
    return Result("OK", "ID completed", "", b'* ID ("name" "Posthouse")\r\n')


def _namespace(session: ServerSession, command: Command) -> Result:
    return Result("OK", "NAMESPACE completed", "", namespaces(session))


def namespaces(session: ServerSession) -> bytes:
    """The untagged NAMESPACE (RFC 2342 §5)."""

    def written(name: str) -> bytes:
        """With what it is called in the language of the session (RFC 5255 §3.4)."""
        translation = translated_name(name, session.language)
        if not translation:
            return f'(("{name}/" "/"))'.encode()
        octets = mailbox_octets(translation + "/", session.enabled)
        return b'(("%b/" "/" "TRANSLATION" (%b)))' % (name.encode(), octets)

    return b'* NAMESPACE (("" "/")) %b %b\r\n' % (written("Other Users"), written("Shared"))


def _language(session: ServerSession, command: Command) -> Result:
    assert isinstance(command, commands.Language)
    if not command.ranges:
        return Result("OK", "LANGUAGE completed", "", f"* LANGUAGE ({' '.join(LANGUAGES)})\r\n".encode())
    language = chosen(command.ranges)
    if language is None:
        return Result("NO", "None of these languages is spoken here")
    session.language = language
    said = f"* LANGUAGE ({language})\r\n".encode()
    if session.state is not State.NOT_AUTHENTICATED:
        said += namespaces(session)
    return Result("OK", "LANGUAGE completed", "", said)


def _comparator(session: ServerSession, command: Command) -> Result:
    assert isinstance(command, commands.Comparator)
    found = collation.matching(command.orders)
    if command.orders and not found:
        return Result("NO", "There is no such comparator", "BADCOMPARATOR")  # RFC 5255 §4.9
    if found:
        session.enabled.comparator = found[0]
    said = f"* COMPARATOR {session.enabled.comparator.value}"
    if len(found) > 1:
        said += f" ({' '.join(one.value for one in found)})"
    return Result("OK", "COMPARATOR completed", "", said.encode() + b"\r\n")


def _enable(session: ServerSession, command: Command) -> Result:
    assert isinstance(command, commands.Enable)
    # RFC 5161 §3.1: extensions that need no enabling, or that we do not know, are passed over.
    names = map(session.enabled.enable, dict.fromkeys(command.capabilities))
    said = " ".join(["* ENABLED", *filter(None, names)]).encode() + b"\r\n"
    return Result("OK", "ENABLE completed", "", said)


def _starttls(session: ServerSession, command: Command) -> Result:
    if session.secure:
        return Result("BAD", "TLS is active already")
    if not session.tls_available:
        return Result("BAD", "TLS is not available")
    session.wants_tls = True
    return Result("OK", "Begin TLS negotiation now")


ANSWERS: dict[type, Callable[[ServerSession, Command], Result]] = {
    commands.Capability: _capability,
    commands.Logout: _logout,
    commands.Id: _id,
    commands.Namespace: _namespace,
    commands.Language: _language,
    commands.Comparator: _comparator,
    commands.Enable: _enable,
    commands.StartTls: _starttls,
}
