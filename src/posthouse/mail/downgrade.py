"""Downgrading: an internationalized letter (RFC 6532) in the form of RFC 5322, for programs that know none.

What comes out is a surrogate (RFC 6857): each header field that holds UTF-8, of the letter, of its parts and
of letters within it, is written anew in ASCII; all else stays to the octet. Display names and texts become
encoded words, domains A-labels, parameters extended ones (RFC 2231); an address whose local part is not ASCII
becomes a group without members that shows it; an identifier is kept in a field of its own, `Downgraded-…`.
A field that is not UTF-8 is not internationalized mail, and stays as it is: nobody knows what it says.

All functions take time in proportion to what they are given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

from posthouse.mail import mailboxes, parameters, words
from posthouse.mail.address import Address, AddressError, domain_to_ascii
from posthouse.mail.header import HeaderIndex, unfold
from posthouse.mail.mailboxes import Mailbox
from posthouse.mail.mime import Part

_FOLD_AT = 76
_LIST_OCTETS = 50_000
"""Of an address list that is taken apart; a longer one is text."""
_VALUE = 900
"""Characters of an extended parameter on one line."""

_COMMENT = re.compile(r"\(([^()\\]*+(?:\\.[^()\\]*+)*+)\)")
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*+\Z")
_DOMAIN = re.compile(r"((?:.*[@<(\[])?)([^@<>()\[\];]+)([>)\];]*)\Z", re.DOTALL)
_XTEXT_NOT = re.compile(r"[^!-*,-<>-\[\]-~]")
_PERCENT = re.compile(r"(?:%[0-9A-F]{2}|[^%]){1,60}")
_EXTENDED = "%'"
"""What an extended value may hold beside letters and digits, as it stands."""
_STATUS = ("delivery-status", "global-delivery-status")


class Edit(NamedTuple):
    """Octets of a letter that are replaced."""

    start: int
    end: int
    octets: bytes


def edits(head: bytes, root: Part | None, statuses: Mapping[int, bytes]) -> list[Edit]:
    """What is to be replaced in a letter, in order; nothing where all of it can go out as it is.

    `root`: its structure, where fields of its parts are to be looked at; `statuses`: the bodies of
    `status_parts`, by where they begin. A part's header longer than the scanner keeps stays as it is.
    """
    found = list(_of_header(head, 0))
    for part in [] if root is None else list(_below(root)):
        if part.header_complete:
            found += _of_header(part.header, part.header_start)
        if part.body_start in statuses and _is_status(part):
            found += _of_header(statuses[part.body_start], part.body_start, _RECIPIENTS)
    return found


def status_parts(root: Part) -> list[Part]:
    """The parts of a delivery status notification that name recipients (RFC 6857 §4.2)."""
    return [part for part in _below(root) if _is_status(part)]


def _is_status(part: Part) -> bool:
    readable = part.encoding in ("7bit", "8bit", "binary")
    return readable and part.type == "message" and part.subtype in _STATUS


def _below(root: Part) -> Iterator[Part]:
    """All parts but the letter itself, in the order of their octets."""
    waiting = [iter(_inside(root))]
    while waiting:
        part = next(waiting[-1], None)
        if part is None:
            waiting.pop()
            continue
        yield part
        waiting.append(iter(_inside(part)))


def _inside(part: Part) -> list[Part]:
    return part.parts if part.message is None else [part.message]


def _of_header(header: bytes, offset: int, only: frozenset[str] = frozenset()) -> Iterator[Edit]:
    if header.isascii():
        return
    for name, start, end in HeaderIndex(header).fields:
        raw = header[start:end]
        if raw.isascii() or (only and name.decode("ascii").lower() not in only):
            continue
        try:
            text = raw[raw.index(b":") + 1 :].decode()
        except UnicodeDecodeError:
            continue
        line_end = "" if not raw.endswith(b"\n") else "\r\n" if raw.endswith(b"\r\n") else "\n"
        yield Edit(offset + start, offset + end, _field(name.decode("ascii"), text, line_end))


def _field(name: str, text: str, line_end: str) -> bytes:
    """A field in ASCII (RFC 6857 §3.2)."""
    value = unfold(text.encode()).decode()
    method = _METHODS.get(name.lower())
    written = _encoded(value) if method is None else method(value)
    if not written.isascii():
        if name.lower() in _ENCAPSULATED:  # RFC 6857 §3.1.10
            name = f"Downgraded-{name}"
        written = _encoded(value)
    return _folded(name, written, line_end).encode("ascii")


def _folded(name: str, value: str, line_end: str) -> str:
    lines, line = [], f"{name}:"
    for word in value.split(" "):
        if word and len(line) + len(word) >= _FOLD_AT and line.strip() and len(line) > len(name) + 1:
            lines.append(line)
            line = ""
        line += f" {word}"
    return (line_end or "\r\n").join([*lines, line]) + line_end


# What a value consists of (RFC 6857 §3.1)


def _encoded(value: str) -> str:
    """Text: what stands from the first to the last word beyond ASCII becomes encoded words (§3.1.1)."""
    parts = value.split(" ")
    beyond = [number for number, part in enumerate(parts) if not part.isascii()]
    if not beyond:
        return value
    first, last = beyond[0], beyond[-1]
    # White space between two encoded words is none: those beside ours are made one with them.
    while first and parts[first - 1].startswith("=?"):
        first -= 1
    while last + 1 < len(parts) and parts[last + 1].startswith("=?"):
        last += 1
    run = words.decode(" ".join(parts[first : last + 1]))
    return " ".join([*parts[:first], words.encode(run), *parts[last + 1 :]])


def _comments(value: str) -> str:
    """Comments (§3.1.3); the innermost, where one holds others."""
    return _COMMENT.sub(lambda match: match[0] if match[0].isascii() else f"({_encoded(match[1])})", value)


def _phrases(value: str) -> str:
    """Words of phrases (§3.1.2), parted by commas."""
    return ", ".join(_encoded(phrase.strip()) for phrase in value.split(","))


def _parameters(value: str) -> str:
    """Parameters (§3.1.4). Comments, which no program shows, are left out."""
    octets = parameters.without_comments(value.encode())
    kind = octets.partition(b";")[0]
    found = parameters.read(octets, len(kind))
    if len(found) >= parameters.PARAMETERS_LIMIT:
        return value
    pieces = [kind.strip().decode()]
    for name, text in found:
        pieces += _parameter(name.decode(), text)
    return "; ".join(pieces)


def _parameter(name: str, value: bytes) -> list[str]:
    """A parameter; one of more than a line is continued (RFC 2231 §3, §4)."""
    if name.endswith("*"):
        return [f"{name}={quote(value, safe=_EXTENDED)}"]
    if value.isascii():
        text = value.decode().replace("\\", "\\\\").replace('"', '\\"')
        return [f'{name}="{text}"']
    text = quote(value, safe="")
    if len(text) <= _VALUE:
        return [f"{name}*=utf-8''{text}"]
    pieces = _PERCENT.findall(text)
    return [f"{name}*{number}*={piece}" for number, piece in enumerate([f"utf-8''{pieces[0]}", *pieces[1:]])]


def _addresses(value: str) -> str:
    """Mailboxes and groups (§3.1.5 to §3.1.8). A comment is kept where it stands for a name."""
    entries = mailboxes.parse(value.encode()) if len(value) <= _LIST_OCTETS else []
    if not entries or len(entries) >= mailboxes.LIST_LIMIT:
        return _encoded(value)
    written: list[str] = []
    group: str | None = None
    members: list[Mailbox] = []
    for entry in entries:
        if entry.local is None:
            written.append(_group(group or "", members))
            group, members = None, []
        elif entry.domain is None:
            group = entry.local.decode()
        elif group is not None:
            members.append(entry)
        else:
            written.append(_mailbox(entry))
    return ", ".join(written)


def _mailbox(entry: Mailbox) -> str:
    name = (entry.name or b"").decode()
    address = _ascii_address(entry)
    if address is not None:
        return f"{_display(name)} <{address}>" if name else address
    plain = _address(entry)
    if name.isascii():
        return f"{_display(name)} {words.encode(plain)} :;".lstrip()
    return f"{_display(f'{name} {plain}')} :;"


def _group(name: str, members: list[Mailbox]) -> str:
    if all(_ascii_address(member) is not None for member in members):
        return f"{_display(name)}: {', '.join(map(_mailbox, members))};"
    plain = ", ".join(map(_as_it_was, members))
    if name.isascii():
        return f"{_display(name)} {words.encode(plain)} :;"
    return f"{_display(f'{name} {plain}')} :;"


def _as_it_was(entry: Mailbox) -> str:
    name = (entry.name or b"").decode()
    return f"{name} <{_address(entry)}>" if name else _address(entry)


def _address(entry: Mailbox) -> str:
    assert entry.local is not None
    assert entry.domain is not None
    return str(Address(entry.local.decode(), entry.domain.decode()))


def _ascii_address(entry: Mailbox) -> str | None:
    """The address with its domain in A-labels; None where its local part is not ASCII."""
    assert entry.local is not None
    assert entry.domain is not None
    if not entry.local.isascii():
        return None
    try:
        domain = entry.domain if entry.domain.isascii() else domain_to_ascii(entry.domain.decode()).encode()
    except AddressError:
        return None
    return _address(entry._replace(domain=domain))


def _display(name: str) -> str:
    if not name.isascii():
        return words.encode(words.decode(name))
    if _PHRASE.match(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _received(value: str) -> str:
    """Domains become A-labels; what `for` and `id` say beyond that is left out (§3.2.4)."""
    kept: list[str] = []
    for token in _comments(value).split(" "):
        if token.isascii():
            kept.append(token)
            continue
        clause = kept[-1].lower() if kept else ""
        plain = _with_ascii_domain(token)
        if clause == "id" or (clause == "for" and plain is None):
            kept.pop()
            if token.endswith(";") and kept:
                kept[-1] += ";"
        else:
            kept.append(plain or words.encode(token))
    return " ".join(kept)


def _with_ascii_domain(token: str) -> str | None:
    match = _DOMAIN.match(token)
    if match is None or not match[1].isascii():
        return None
    try:
        return f"{match[1]}{domain_to_ascii(match[2])}{match[3]}"
    except AddressError:
        return None


def _typed(value: str) -> str:
    """`utf-8; address` of a delivery status (§3.1.9; RFC 6533 §3)."""
    kind, _, address = _comments(value).partition(";")
    if kind.strip().lower() != "utf-8":
        return value
    return f"{kind};{_XTEXT_NOT.sub(_code_point, address.strip())}"


def _code_point(character: re.Match[str]) -> str:
    return f"\\x{{{ord(character[0]):X}}}"


_RECIPIENTS = frozenset(("original-recipient", "final-recipient"))
_IDENTIFIERS = frozenset(("message-id", "resent-message-id", "in-reply-to", "references"))
_ENCAPSULATED = _RECIPIENTS | _IDENTIFIERS
_ADDRESSES = (
    "from sender to cc bcc reply-to resent-from resent-sender resent-to resent-cc resent-bcc resent-reply-to"
    " return-path disposition-notification-to"
)
_COMMENTED = (
    "date resent-date mime-version content-id content-transfer-encoding content-language accept-language"
    " auto-submitted"
)
_METHODS: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(_ADDRESSES.split(), _addresses),
    **dict.fromkeys(_COMMENTED.split(), _comments),
    **dict.fromkeys(_IDENTIFIERS, _comments),
    **dict.fromkeys(_RECIPIENTS, _typed),
    "content-type": _parameters,
    "content-disposition": _parameters,
    "received": _received,
    "keywords": _phrases,
}
"""RFC 6857 §3.2; a field that is not here is text (§3.2.6, §3.2.8)."""
