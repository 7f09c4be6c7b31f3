"""`posthouse sendmail`: sendmail's command line, for cron, PHP, git and whatever else wants one.

It hands the letter on standard input to the submission socket of the server on this machine, which knows
the caller by his uid: no password, no privileges, any user. The server completes the letter and removes
Bcc. Exit codes are those of sysexits.h; EX_TEMPFAIL where there is no server, and then nothing was sent.

The socket is $POSTHOUSE_SUBMISSION; else the one that the configuration names (-C FILE, $POSTHOUSE_CONFIG,
./posthouse.toml where it is yours or root's, /etc/posthouse/posthouse.toml); else /run/posthouse/submission.

Addresses without a domain get the one in /etc/mailname, else the server's own name.
"""

from __future__ import annotations

import os
import pwd
import re
import select
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from posthouse.cli.addressees import qualified, read_addresses
from posthouse.cli.dialogue import BLOCK, Dialogue, exit_code_of, reason
from posthouse.cli.sendmailoptions import USAGE, Options, UsageError, read_options
from posthouse.cli.stdinletter import LetterProblem, StdinLetter, read_letter
from posthouse.mail.address import Address, AddressError, canonical
from posthouse.mail.compose import field, mailbox
from posthouse.mail.envelope import BodyType, Recipient, Sender
from posthouse.mail.header import HeaderIndex
from posthouse.mail.reply import Reply
from posthouse.protocol.smtp.client import ClientSession, Line, Lost, WantsContent
from posthouse.protocol.smtp.outgoing import INLINE_CHUNK, Finished, Timeouts, Transaction

VARIABLE = "POSTHOUSE_SUBMISSION"
PLACE = "/run/posthouse/submission"
DEFAULT_SOCKET = "run/submission"
"""Under data_directory: listen.submission of a configuration that does not name it."""
MAILNAME = Path("/etc/mailname")
TIMEOUTS = Timeouts(greeting=60.0, command=60.0)

_RECIPIENT_FIELDS = ("To", "Cc", "Bcc")
_RESENT_FIELDS = ("Resent-To", "Resent-Cc", "Resent-Bcc")


def sendmail(arguments: list[str]) -> int:
    """Run with sendmail's arguments; the exit code."""
    try:
        options = read_options(arguments)
    except UsageError as error:
        return _tell(str(error), os.EX_USAGE)
    match options.mode:
        case "help":
            print(USAGE)
            return os.EX_OK
        case "newaliases" | "run queue":  # aliases take effect at once, and the queue runs by itself
            return os.EX_OK
        case "list queue":
            from posthouse.cli.main import main

            return main(["queue", "list", *(["--config", options.config] if options.config else [])])
    try:
        if options.mode == "smtp":
            with _connect(options) as connection:
                return _bridge(connection)
        if options.mode == "verify":
            return _verify(options)
        with read_letter(sys.stdin.buffer, dot_ends=not options.ignore_dots) as letter:
            _require_recipients(options, letter)
            return _hand_over(options, letter)
    except UsageError as error:
        return _tell(str(error), os.EX_USAGE)
    except (LetterProblem, AddressError) as error:
        return _tell(str(error), os.EX_DATAERR)
    except NoServer as error:
        return _tell(str(error), error.code)


def _tell(message: str, code: int) -> int:
    print(f"sendmail: {message}", file=sys.stderr)
    return code


# ── the server ───────────────────────────────────────────────────────────────────────────────────


class NoServer(Exception):
    """The server cannot be reached, or does not want us; `code` is the exit code."""

    def __init__(self, message: str, code: int = os.EX_TEMPFAIL) -> None:
        super().__init__(message)
        self.code = code


def _connect(options: Options) -> socket.socket:
    """A connection to the first submission socket that answers. Raises NoServer."""
    problem = NoServer("there is no mail server; nothing was sent")
    for path in _sockets(options):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUTS.greeting)
        try:
            connection.connect(path)
        except (OSError, ValueError) as error:
            connection.close()
            why = reason(error) if isinstance(error, OSError) else str(error)
            code = os.EX_NOPERM if isinstance(error, PermissionError) else os.EX_TEMPFAIL
            problem = NoServer(f"no mail server at {path}: {why}; nothing was sent", code)
        else:
            return connection
    raise problem


def _sockets(options: Options) -> Iterator[str]:
    """Where the submission socket may be; one that was named is the only one."""
    named = os.environ.get(VARIABLE)
    if named:
        yield named.removeprefix("unix:")
        return
    explicit = options.config or os.environ.get("POSTHOUSE_CONFIG", "")
    if explicit:
        yield from _configured(Path(explicit))
        return
    here = Path("posthouse.toml")
    try:
        # Whoever can write /tmp must not decide where root's mail goes.
        trusted = here.stat().st_uid in (0, os.getuid())
    except OSError:
        trusted = False
    for file in ([here] if trusted else []) + [Path("/etc/posthouse/posthouse.toml")]:
        if file.exists():
            yield from _configured(file)
    yield PLACE


def _configured(file: Path) -> list[str]:
    """The Unix sockets of listen.submission in a configuration that we may read."""
    import tomllib

    try:
        settings = tomllib.loads(file.read_text("utf-8"))
    except PermissionError:
        return []
    except OSError as error:
        raise NoServer(f"{file}: {reason(error)}", os.EX_CONFIG) from None
    except ValueError as error:
        raise NoServer(f"{file}: {error}", os.EX_CONFIG) from None
    data = file.absolute().parent / Path(str(settings.get("data_directory", "data"))).expanduser()
    listen = settings.get("listen")
    endpoints = listen.get("submission") if isinstance(listen, dict) else None
    if not isinstance(endpoints, list):
        endpoints = [f"unix:{DEFAULT_SOCKET}"]
    paths = [str(data / e[5:]) for e in endpoints if isinstance(e, str) and e.startswith("unix:")]
    if not paths:
        raise NoServer(f"{file}: listen.submission names no Unix socket", os.EX_CONFIG)
    return paths


# ── one letter ───────────────────────────────────────────────────────────────────────────────────


def _require_recipients(options: Options, letter: StdinLetter) -> None:
    """Before anybody is asked: UsageError or LetterProblem where there are none."""
    if options.recipients:
        return
    if not options.from_header:
        raise UsageError("no recipients: name them, or take those of the header with -t")
    if not any(_values(letter)):
        raise LetterProblem("the header names no recipients (To, Cc, Bcc)")


def _values(letter: StdinLetter) -> Iterator[bytes]:
    """The fields that -t takes recipients from: those of the last sender, where it is sent again."""
    header = HeaderIndex(letter.head)
    resent = any(header.first(name) is not None for name in _RESENT_FIELDS)
    for name in _RESENT_FIELDS if resent else _RECIPIENT_FIELDS:
        yield from header.all(name)


def _hand_over(options: Options, letter: StdinLetter) -> int:
    dialogue, origin = _begin(options)
    with closing(dialogue):
        return _send(options, letter, dialogue, origin)


def _send(options: Options, letter: StdinLetter, dialogue: Dialogue, origin: str) -> int:
    sender, author = _sender(options, origin)
    texts = [*map(os.fsencode, options.recipients), *(_values(letter) if options.from_header else ())]
    recipients = _recipients(texts, origin)
    if HeaderIndex(letter.head).first("From") is None:
        letter.add_field(field("From", author))
    body = BodyType.EIGHT_BIT_MIME if letter.eight_bit or options.eight_bit else BodyType.SEVEN_BIT
    transaction = Transaction(
        Sender(sender, letter.size, body, ret=options.ret, envid=options.envid),
        tuple(Recipient(recipient, options.notify) for recipient in recipients),
        letter.size,
        letter.read() if letter.size <= INLINE_CHUNK else None,
        internationalized=not all(a.local.isascii() for a in (*recipients, sender) if a is not None),
    )
    dialogue.session.send(transaction)
    event = dialogue.event()
    if isinstance(event, WantsContent):
        for piece in letter.pieces():
            dialogue.write(piece)
        dialogue.session.finish()
        event = dialogue.event()
    assert isinstance(event, Finished)
    for recipient, reply in zip(recipients, event.replies, strict=True):
        if not reply.positive:
            print(f"sendmail: {recipient}: {_printable(str(reply))}", file=sys.stderr)
    return exit_code_of(*event.replies)


def _begin(options: Options) -> tuple[Dialogue, str]:
    """A session that is ready, and the domain of addresses that have none. Raises NoServer."""
    session = ClientSession("localhost", time.monotonic, level="none", timeouts=TIMEOUTS)
    greetings: list[str] = []

    def tell(line: Line) -> None:
        if not greetings:
            greetings.append(line.text.partition(" ")[2].partition(" ")[0])
        if options.verbose:
            print(f"{line.direction}: {_printable(line.text)}", flush=True)

    dialogue = Dialogue(session, _connect(options), tell=tell)
    event = dialogue.event()
    if isinstance(event, Lost):
        dialogue.close()
        raise NoServer(_printable(str(event.reply)), exit_code_of(event.reply))
    return dialogue, _mailname() or greetings[0]


def _mailname() -> str:
    """The domain of this machine's users, as Debian writes it down; empty where it does not."""
    try:
        return MAILNAME.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def _printable(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "�", text)


def _sender(options: Options, origin: str) -> tuple[Address | None, str]:
    """The reverse-path, and the author for a letter that names none."""
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid)
        login, name = user.pw_name, user.pw_gecos.partition(",")[0].replace("&", user.pw_name.capitalize())
    except KeyError:
        login, name = f"uid{uid}", ""
    given = options.sender
    if given is None:
        address = qualified(login, origin)
        return address, mailbox(options.full_name or name, address)
    if given.strip() in ("", "<>"):
        return None, mailbox(options.full_name or name, qualified(login, origin))
    addresses = [address for _, address in read_addresses(os.fsencode(given), origin)]
    if len(addresses) != 1:
        raise UsageError(f"-f {given}: this is not one address")
    return addresses[0], mailbox(options.full_name, addresses[0])


def _recipients(texts: Iterable[bytes], origin: str) -> list[Address]:
    """All recipients of these lists, each once. Raises AddressError, LetterProblem where there are none."""
    found: dict[str, Address] = {}
    for text in texts:
        for _, address in read_addresses(text, origin):
            found.setdefault(canonical(address), address)
    if not found:
        raise LetterProblem("there are no recipients")
    return list(found.values())


# ── other ways to be called ──────────────────────────────────────────────────────────────────────


def _verify(options: Options) -> int:
    """-bv: ask whether the recipients exist; nothing is sent."""
    if not options.recipients:
        raise UsageError("-bv: which addresses?")
    dialogue, origin = _begin(options)
    replies: list[Reply] = []
    with closing(dialogue):
        for address in _recipients(map(os.fsencode, options.recipients), origin):
            dialogue.session.command(f"VRFY {address}\r\n".encode(), replies.append, TIMEOUTS.command)
            dialogue.until_idle()
            if replies:
                print(f"{address}: {_printable(str(replies[-1]))}")
    return exit_code_of(*replies) if replies else os.EX_TEMPFAIL


def _bridge(connection: socket.socket) -> int:
    """-bs: our standard input and output are the client's; a bare LF becomes CRLF."""
    connection.settimeout(TIMEOUTS.final)
    listening = [sys.stdin.fileno(), connection.fileno()]
    before = b""
    while True:
        readable, _, _ = select.select(listening, [], [], TIMEOUTS.final)
        if not readable:
            return os.EX_TEMPFAIL
        try:
            if connection.fileno() in readable:
                octets = connection.recv(BLOCK)
                if not octets:
                    return os.EX_OK
                sys.stdout.buffer.write(octets)
                sys.stdout.buffer.flush()
            if sys.stdin.fileno() in readable:
                octets = os.read(sys.stdin.fileno(), BLOCK)
                if octets:
                    connection.sendall(re.sub(rb"(?<!\r)\n", b"\r\n", before + octets)[len(before) :])
                    before = octets[-1:] if octets.endswith(b"\r") else b""
                else:
                    listening.remove(sys.stdin.fileno())
                    connection.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            raise
        except OSError as error:
            return _tell(f"the connection is lost: {reason(error)}", os.EX_TEMPFAIL)
