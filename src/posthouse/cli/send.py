"""`posthouse send`: write a letter, take it to the recipient's own server, and watch every step.

It needs no server of ours and no configuration; where there is one, name servers, host name and port of
other people's MX hosts come from it. The letter goes out here and now, or not at all: there is no queue.
"""

from __future__ import annotations

import getpass
import ipaddress
import mimetypes
import os
import secrets
import socket
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from posthouse.cli.addressees import read_addresses
from posthouse.cli.carrier import Carrier, Settings
from posthouse.cli.context import ConfigOption, find_config
from posthouse.cli.dialogue import exit_code_of
from posthouse.cli.plainly import heard, printable
from posthouse.cli.problem import CommandProblem
from posthouse.cli.trace import Trace
from posthouse.config import Config, load
from posthouse.config.endpoint import parse_endpoint
from posthouse.mail import compose
from posthouse.mail.address import Address, AddressError, canonical, domain_to_ascii
from posthouse.mail.reply import Reply
from posthouse.net.tls import ClientTls
from posthouse.outbound.hop import NextHop, parse_next_hop
from posthouse.protocol.sasl import Credentials

app = App(name="send")

_SUBMISSION_PORT = 587
_FLAG = Parameter(negative="")
_SEVERAL = Parameter(negative="", consume_multiple=True)


@app.default
def send(
    *,
    to: Annotated[list[str], _SEVERAL],
    from_: Annotated[str, Parameter(name="--from")] = "",
    cc: Annotated[list[str] | None, _SEVERAL] = None,
    bcc: Annotated[list[str] | None, _SEVERAL] = None,
    subject: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    body: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    attach: Annotated[list[Path] | None, _SEVERAL] = None,
    via: str = "",
    user: str = "",
    password_stdin: Annotated[bool, _FLAG] = False,
    tls: Literal["may", "none", "starttls", "implicit"] | None = None,
    verify: bool | None = None,
    ca_file: Path | None = None,
    trace: Annotated[bool, _FLAG] = False,
    nameserver: list[str] | None = None,
    port: int | None = None,
    hello: str = "",
    timeout: float = 60.0,
    config: ConfigOption = None,
) -> int:
    """Write a letter and hand it to the MX hosts of each recipient's domain, or to the server of --via.

    Parameters
    ----------
    to
        Recipients: addresses, with or without a name; repeat the option or part them by commas.
    from_
        The sender; your login name at this machine unless given.
    cc
        Recipients who get a copy.
    bcc
        Recipients whom the others do not see.
    body
        The text; - reads it from standard input.
    attach
        A file to send along; may be repeated.
    via
        A server to hand the letter to, as HOST, HOST:PORT or [ADDRESS]:PORT; no MX look-up.
    user
        Log in at that server; asks for the password.
    password_stdin
        Read the password from the first line of standard input.
    tls
        may: where it is offered; starttls: demand it; implicit: from the start; none: never.
        The default is may, and implicit for port 465.
    verify
        Demand a certificate that is valid for the server; the default with --user and --ca-file.
    ca_file
        Certificate authorities to trust, in PEM; the system's unless given.
    trace
        Show DNS answers, connections, TLS and every line of the dialogue, explained.
    nameserver
        Ask this name server, ADDRESS or ADDRESS:PORT, instead of the system's.
    port
        Port of the MX hosts: 25 unless the configuration says otherwise.
    hello
        What to call ourselves in EHLO.
    timeout
        Seconds to wait for each reply of a server; ten times as long after the letter.
    """
    if user and not via:
        raise CommandProblem("--user logs in at the server of --via: name it", code=os.EX_USAGE)
    if not 0 < timeout <= 3600:
        raise CommandProblem("--timeout is between 0 and 3600 seconds", code=os.EX_USAGE)
    ours = _config(config)
    hostname = hello or (ours.hostname if ours else socket.getfqdn())
    sender = _sender(from_, hostname)
    recipients = [_mailboxes(given or [], option) for given, option in ((to, "to"), (cc, "cc"), (bcc, "bcc"))]
    if not any(recipients):
        raise CommandProblem("--to names nobody", code=os.EX_USAGE)
    credentials = Credentials(user, _password(password_stdin)) if user else None
    letter = compose.message(
        sender=sender,
        to=recipients[0],
        cc=recipients[1],
        subject=subject,
        text=sys.stdin.read() if body == "-" else body,
        attachments=[_attachment(path) for path in attach or []],
        date=time.time(),
        offset_minutes=time.localtime().tm_gmtoff // 60,
        message_id=f"{secrets.token_hex(12)}@{hostname}",
        boundary=f"={secrets.token_hex(12)}=",
    )
    tracing = Trace(on=trace)
    tracing.letter = letter
    hop = _via(via, _SUBMISSION_PORT if user else 25) if via else None
    carrier = Carrier(
        Settings(
            hello=hello or _hello(hostname),
            tls=tls or ("implicit" if hop is not None and hop.port == 465 else "may"),
            verify=bool(user or ca_file) if verify is None else verify,
            contexts=ClientTls(ca_file or (ours.outbound.tls_ca_file if ours else None)),
            credentials=credentials,
            timeout=timeout,
            nameservers=_nameservers(nameserver, ours),
            hosts_file=not nameserver,
        ),
        tracing,
    )
    addresses = list({canonical(a): a for group in recipients for _, a in group}.values())
    destinations = _destinations(addresses, hop, port or (ours.outbound.port if ours else 25))
    replies: list[Reply] = []
    for next_hop, those in destinations.items():
        outcome = carrier.carry(next_hop, sender[1], those, letter)
        for address, reply in zip(those, outcome.replies, strict=True):
            _report(address, reply, outcome.place)
        replies += outcome.replies
    return exit_code_of(*replies)


def _report(address: Address, reply: Reply, place: str) -> None:
    """One line of outcome, and for a refusal what it means."""
    where = f" by {place}" if place else ""
    what = "accepted" if reply.positive else "not now" if reply.transient else "refused"
    out = sys.stdout if reply.positive else sys.stderr
    sys.stdout.flush()
    print(f"{address}: {what}{where}: {printable(str(reply))}", file=out)
    if not reply.positive:
        later = " Nothing waits in a queue: try again later." if reply.transient else ""
        print(f"    {printable(heard(str(reply)))}{later}", file=out)


def _config(given: Path | None) -> Config | None:
    """The configuration where there is one that we may read."""
    if given is not None or "POSTHOUSE_CONFIG" in os.environ:
        return load(find_config(given))
    try:
        return load(find_config(None))
    except (CommandProblem, PermissionError):
        return None


def _hello(hostname: str) -> str:
    """`hostname` where a server can take it for one, else an address literal (RFC 5321 §4.1.4)."""
    try:
        return domain_to_ascii(hostname)
    except AddressError:
        return "[127.0.0.1]"


def _sender(given: str, hostname: str) -> tuple[str, Address]:
    if not given:
        given = f"{getpass.getuser()}@{hostname}"
    found = _mailboxes([given], "from")
    if len(found) != 1:
        raise CommandProblem("--from is one address", code=os.EX_USAGE)
    return found[0]


def _mailboxes(given: list[str], option: str) -> list[tuple[str, Address]]:
    """Names and addresses, the domains in A-labels where the rest is ASCII too."""
    found = []
    for text in given:
        try:
            for name, address in read_addresses(os.fsencode(text)):
                if address.local.isascii() and not address.domain.isascii():
                    address = address._replace(domain=domain_to_ascii(address.domain))
                found.append((name, address))
        except AddressError as error:
            raise CommandProblem(f"--{option} {error}", code=os.EX_USAGE) from None
    return found


def _attachment(path: Path) -> compose.Attachment:
    kind, encoding = mimetypes.guess_type(path.name)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CommandProblem(f"--attach {path}: {error.strerror}", code=os.EX_NOINPUT) from None
    return compose.Attachment(path.name, "" if encoding else kind or "", data)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        line = sys.stdin.readline()
        if not line:
            raise CommandProblem("standard input holds no password", code=os.EX_NOINPUT)
        return line.rstrip("\r\n")
    if not sys.stdin.isatty():
        raise CommandProblem("nobody can be asked for the password; use --password-stdin", code=os.EX_USAGE)
    return getpass.getpass("Password: ")


def _via(text: str, port: int) -> NextHop:
    try:
        return parse_next_hop(text, port)._replace(look_up_mx=False)
    except ValueError:
        raise CommandProblem(
            f"--via {text}: this is no server",
            hint="Write HOST, HOST:PORT or [ADDRESS]:PORT.",
            code=os.EX_USAGE,
        ) from None


def _nameservers(given: list[str] | None, ours: Config | None) -> list[tuple[str, int]]:
    if not given:
        return [(endpoint.host, endpoint.port) for endpoint in ours.dns.nameservers] if ours else []
    return [_nameserver(text) for text in given]


def _nameserver(text: str) -> tuple[str, int]:
    try:
        return str(ipaddress.ip_address(text.strip("[]"))), 53
    except ValueError:
        pass
    try:
        endpoint = parse_endpoint(text)
        return str(ipaddress.ip_address(endpoint.host)), endpoint.port
    except ValueError:
        raise CommandProblem(
            f"--nameserver {text}: write ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT", code=os.EX_USAGE
        ) from None


def _destinations(addresses: list[Address], via: NextHop | None, port: int) -> dict[NextHop, list[Address]]:
    """Who goes where, in the order in which they were named."""
    found: dict[NextHop, list[Address]] = {}
    for address in addresses:
        if via is not None:
            hop = via
        elif not address.domain:
            raise CommandProblem(f"{address} has no domain; name the server with --via", code=os.EX_USAGE)
        elif address.domain.startswith("["):
            hop = parse_next_hop(address.domain, port)
        else:
            hop = NextHop(domain_to_ascii(address.domain), port, look_up_mx=True)
        found.setdefault(hop, []).append(address)
    return found
