"""The arguments of SMTP commands, read strictly: paths, parameters, xtext (RFC 5321 §4.1.2, RFC 3461 §4).

Each `parse_…` takes the octets after the verb and gives a value, or raises `Refused` with the reply
that the client deserves. Source routes are read and ignored (RFC 5321 §4.1.1.3, appendix C): the mailbox
alone counts, so they can never lead a letter anywhere that the mailbox would not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from posthouse.mail.address import Address, AddressError, parse_address
from posthouse.mail.envelope import BodyType, Notify, Recipient, Return, Sender
from posthouse.mail.reply import (
    BAD_RECIPIENT_SYNTAX,
    BAD_SENDER_SYNTAX,
    PARAMETER_NOT_IMPLEMENTED,
    SYNTAX_ERROR,
    UNKNOWN_MAIL_PARAMETER,
    UNKNOWN_RCPT_PARAMETER,
    UTF8_NEEDS_SMTPUTF8,
    Reply,
)

PATH_LIMIT = 256
"""Octets of a path with its angle brackets (RFC 5321 §4.5.3.1.3); a source route may make it longer."""

ENVID_LIMIT = 100
"""Characters of ENVID (RFC 3461 §4.4)."""

ORCPT_LIMIT = 500
"""Characters of ORCPT (RFC 3461 §4.2)."""

HELO_LIMIT = 255
"""Octets of a domain (RFC 5321 §4.5.3.1.2)."""

_HELO = re.compile(rb"[A-Za-z0-9._:\[\]-]+\Z")
_DOMAIN = re.compile(r"[^\s@,:<>]{1,255}\Z")
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")  # RFC 5321 §4.1.2 esmtp-keyword
_VALUE = re.compile(r"[!-<>-~\u0080-\U0010ffff]+\Z")  # esmtp-value, with UTF-8 as of RFC 6531 §3.3
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")  # RFC 3461 §4
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")
_UNITEXT = re.compile(r"\\x\{([0-9A-F]{2,6})\}")  # RFC 6533 §3
_PRINTABLE = re.compile(r"[ -~]*\Z")


class Refused(Exception):
    """The argument is not acceptable; `reply` says so."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


def parse_nothing(argument: bytes, utf8: bool) -> None:
    """For verbs without an argument."""
    if argument.strip():
        raise Refused(SYNTAX_ERROR.saying("This command takes no argument"))


def parse_anything(argument: bytes, utf8: bool) -> None:
    """For NOOP, which ignores what follows (RFC 5321 §4.1.1.9)."""


def parse_text(argument: bytes, utf8: bool) -> str:
    """For VRFY and EXPN: some words, maybe with the SMTPUTF8 parameter (RFC 6531 §3.7.4.2)."""
    text = _decode(argument, SYNTAX_ERROR).strip()
    if text.upper().endswith(" SMTPUTF8"):
        text = text[:-9].rstrip()
    elif not text.isascii():
        raise Refused(UTF8_NEEDS_SMTPUTF8)
    if not text or not text.isprintable():
        raise Refused(SYNTAX_ERROR)
    return text


def parse_optional_text(argument: bytes, utf8: bool) -> str:
    """For HELP: a word, or nothing."""
    return argument.decode("ascii", "replace").strip()


def parse_helo(argument: bytes, utf8: bool) -> str:
    """A domain or an address literal (RFC 5321 §4.1.1.1), in the letters that may stand in a trace field.

    Underscores, bare addresses and bad dots are let through: which names to believe is policy.
    """
    name = argument.strip(b" \t")
    if not name or len(name) > HELO_LIMIT or _HELO.match(name) is None:
        raise Refused(SYNTAX_ERROR.saying("Say your domain name or your address literal"))
    return name.decode("ascii")


class Bdat(NamedTuple):
    """BDAT chunk-size [LAST] (RFC 3030 §2)."""

    size: int
    last: bool


def parse_bdat(argument: bytes, utf8: bool) -> Bdat:
    words = argument.split()
    if 1 <= len(words) <= 2 and words[0].isdigit() and len(words[0]) <= 20:
        if len(words) == 1:
            return Bdat(int(words[0]), last=False)
        if words[1].upper() == b"LAST":
            return Bdat(int(words[0]), last=True)
    raise Refused(SYNTAX_ERROR.saying("Syntax: BDAT size [LAST]"))


class Burl(NamedTuple):
    """BURL url [LAST] (RFC 4468 §3.5)."""

    url: str
    last: bool


def parse_burl(argument: bytes, utf8: bool) -> Burl:
    words = argument.split()
    if 1 <= len(words) <= 2 and words[0].isascii() and words[1:] in ([], [b"LAST"], [b"last"]):
        return Burl(words[0].decode("ascii"), last=len(words) == 2)
    raise Refused(SYNTAX_ERROR.saying("Syntax: BURL url [LAST]"))


class AuthCommand(NamedTuple):
    """AUTH mechanism [initial-response] (RFC 4954 §4), the response still in base64."""

    mechanism: str
    initial: bytes | None


def parse_auth(argument: bytes, utf8: bool) -> AuthCommand:
    words = argument.split()
    if not 1 <= len(words) <= 2 or not words[0].isascii():
        raise Refused(SYNTAX_ERROR.saying("Syntax: AUTH mechanism [initial-response]"))
    return AuthCommand(words[0].decode("ascii").upper(), words[1] if len(words) == 2 else None)


# ── paths ────────────────────────────────────────────────────────────────────────────────────────────


def parse_mail(argument: bytes, utf8: bool) -> Sender:
    """`FROM:<reverse-path> parameters`."""
    if b" " not in argument:
        return _plain_mail(argument)
    path, parameters = _split(argument, b"FROM:", BAD_SENDER_SYNTAX, "MAIL FROM:<address> [parameters]")
    values = _read_parameters(parameters, MAIL_PARAMETERS, UNKNOWN_MAIL_PARAMETER)
    sender = Sender(_reverse_path(path))._replace(**values)
    if not (sender.smtputf8 or sender.address is None or sender.address.ascii):
        raise Refused(UTF8_NEEDS_SMTPUTF8)
    return sender


def parse_rcpt(argument: bytes, utf8: bool) -> Recipient:
    """`TO:<forward-path> parameters`; `utf8` when MAIL had SMTPUTF8."""
    if b" " not in argument:
        recipient = _plain_rcpt(argument)
    else:
        path, parameters = _split(argument, b"TO:", BAD_RECIPIENT_SYNTAX, "RCPT TO:<address> [parameters]")
        values = _read_parameters(parameters, RCPT_PARAMETERS, UNKNOWN_RCPT_PARAMETER)
        recipient = Recipient(_forward_path(path))._replace(**values)
    if not (utf8 or recipient.address.ascii):
        raise Refused(UTF8_NEEDS_SMTPUTF8)
    return recipient


@lru_cache(maxsize=2048)
def _plain_mail(argument: bytes) -> Sender:
    """MAIL without parameters: the same few senders come again and again."""
    path, _ = _split(argument, b"FROM:", BAD_SENDER_SYNTAX, "MAIL FROM:<address> [parameters]")
    address = _reverse_path(path)
    if not (address is None or address.ascii):
        raise Refused(UTF8_NEEDS_SMTPUTF8)
    return Sender(address)


@lru_cache(maxsize=2048)
def _plain_rcpt(argument: bytes) -> Recipient:
    path, _ = _split(argument, b"TO:", BAD_RECIPIENT_SYNTAX, "RCPT TO:<address> [parameters]")
    return Recipient(_forward_path(path))


def _split(argument: bytes, keyword: bytes, bad: Reply, syntax: str) -> tuple[str, str]:
    """`FROM:<path> parameters` → the text between the angle brackets, and the parameters.

    White space after the colon is against the letter of RFC 5321 §3.3, and common; it does no harm.
    """
    if argument[: len(keyword)].upper() != keyword:
        raise Refused(SYNTAX_ERROR.saying(f"Syntax: {syntax}"))
    text = _decode(argument[len(keyword) :], bad).strip(" ")
    if text[:1] != "<":
        raise Refused(bad.saying(f"{bad.text}: the address must stand in <angle brackets>"))
    end = _closing_bracket(text)
    if end < 0:
        raise Refused(bad.saying(f"{bad.text}: there is no closing bracket"))
    parameters = text[end + 1 :]
    if parameters and parameters[0] != " ":
        raise Refused(bad.saying(f"{bad.text}: a space must part the address from its parameters"))
    return text[1:end], parameters


def _closing_bracket(text: str) -> int:
    """Where the `>` stands that no quotation marks surround; -1 where there is none."""
    if '"' not in text:
        return text.find(">")
    position, quoted = 1, False
    while position < len(text):
        character = text[position]
        if character == "\\" and quoted:
            position += 1
        elif character == '"':
            quoted = not quoted
        elif character == ">" and not quoted:
            return position
        position += 1
    return -1


def _reverse_path(path: str) -> Address | None:
    if not path:
        return None
    address = _mailbox(path, BAD_SENDER_SYNTAX)
    if not address.domain:  # RFC 5321 §4.1.1.2: only a forward-path may be a bare postmaster
        raise Refused(BAD_SENDER_SYNTAX.saying(f"{BAD_SENDER_SYNTAX.text}: the domain is missing"))
    return address


def _forward_path(path: str) -> Address:
    return _mailbox(path, BAD_RECIPIENT_SYNTAX)


def _mailbox(path: str, bad: Reply) -> Address:
    if path[:1] == "@":
        path = _after_source_route(path, bad)
    try:
        return parse_address(path)
    except AddressError as error:
        raise Refused(bad.saying(f"{bad.text}: {error}")) from None


def _after_source_route(path: str, bad: Reply) -> str:
    """`@one,@two:user@three` → `user@three` (RFC 5321 §4.1.2 A-d-l)."""
    route, colon, mailbox = path.partition(":")
    if path[1:7].upper() == "[IPV6:" or not colon:
        raise Refused(bad.saying(f"{bad.text}: bad source route"))
    for domain in route.split(","):
        if domain[:1] != "@" or _DOMAIN.match(domain[1:]) is None:
            raise Refused(bad.saying(f"{bad.text}: bad source route"))
    return mailbox


def _decode(octets: bytes, bad: Reply) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise Refused(bad.saying(f"{bad.text}: not valid UTF-8")) from None


# ── parameters ───────────────────────────────────────────────────────────────────────────────────────


class Parameter(NamedTuple):
    """One parameter of MAIL or RCPT: its keyword, the field that it fills, and how to read its value."""

    keyword: str
    field: str
    read: Callable[[str], object]
    needs_value: bool
    rfc: str


def decode_xtext(text: str) -> str:
    """RFC 3461 §4 xtext → what it stands for. Raises ValueError."""
    if _XTEXT.match(text) is None:
        raise ValueError("not xtext")
    return _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), text)


def encode_xtext(text: str) -> str:
    """Printable ASCII → xtext (RFC 3461 §4)."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


def _read_size(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 20):  # RFC 1870 §4
        raise ValueError("SIZE is a number")
    return int(value)


def _read_body(value: str) -> BodyType:
    if value.upper() not in ("7BIT", "8BITMIME"):  # BINARYMIME is not offered
        raise Refused(PARAMETER_NOT_IMPLEMENTED.saying("BODY is 7BIT or 8BITMIME"))
    return BodyType(value.upper())


def _read_smtputf8(value: str) -> bool:
    if value:
        raise ValueError("SMTPUTF8 takes no value")
    return True


def _read_auth(value: str) -> str:
    """RFC 4954 §5: a mailbox or `<>`, in xtext."""
    text = decode_xtext(value)
    if text != "<>":
        parse_address(text)
    return text


def _read_envid(value: str) -> str:
    text = decode_xtext(value)
    if not text or len(value) > ENVID_LIMIT or _PRINTABLE.match(text) is None:
        raise ValueError("ENVID is up to 100 printable characters")
    return text


def _read_ret(value: str) -> Return:
    if value.upper() not in ("FULL", "HDRS"):
        raise ValueError("RET is FULL or HDRS")
    return Return(value.upper())


def _read_notify(value: str) -> Notify:
    """RFC 3461 §4.1: NEVER alone, or a list of the others."""
    words = value.upper().split(",")
    if words == ["NEVER"]:
        return Notify.NEVER
    notify = Notify.UNSTATED
    for word in words:
        if word not in ("SUCCESS", "FAILURE", "DELAY"):
            raise ValueError("NOTIFY is NEVER, or a list of SUCCESS, FAILURE, DELAY")
        notify |= Notify[word]
    return notify


def _read_orcpt(value: str) -> str:
    """RFC 3461 §4.2: `type;xtext`, the type `utf-8` as of RFC 6533 §3."""
    kind, semicolon, encoded = value.partition(";")
    if not semicolon or not encoded or len(value) > ORCPT_LIMIT or _KEYWORD.match(kind) is None:
        raise ValueError("ORCPT is type;address")
    if kind.lower() == "utf-8":
        return f"{kind};{_decode_unitext(encoded)}"
    text = decode_xtext(encoded)
    if _PRINTABLE.match(text) is None:
        raise ValueError("ORCPT has unprintable characters")
    return f"{kind};{text}"


def _decode_unitext(encoded: str) -> str:
    """RFC 6533 §3: utf-8-addr-xtext (`\\x{E9}`) and utf-8-addr-unitext, to plain text."""

    def character(match: re.Match[str]) -> str:
        return chr(int(match[1], 16)) if int(match[1], 16) <= 0x10FFFF else "\0"

    if "\\" in _UNITEXT.sub("", encoded):
        raise ValueError("a backslash must be written as \\x{5C}")
    text = _UNITEXT.sub(character, encoded)
    if not text.isprintable():
        raise ValueError("ORCPT has unprintable characters")
    return text


MAIL_PARAMETERS: dict[str, Parameter] = {
    row.keyword: row
    for row in (
        Parameter("SIZE", "size", _read_size, True, "RFC 1870 §3"),
        Parameter("BODY", "body", _read_body, True, "RFC 6152 §2"),
        Parameter("SMTPUTF8", "smtputf8", _read_smtputf8, False, "RFC 6531 §3.4"),
        Parameter("AUTH", "auth", _read_auth, True, "RFC 4954 §5"),
        Parameter("RET", "ret", _read_ret, True, "RFC 3461 §4.3"),
        Parameter("ENVID", "envid", _read_envid, True, "RFC 3461 §4.4"),
    )
}
RCPT_PARAMETERS: dict[str, Parameter] = {
    row.keyword: row
    for row in (
        Parameter("NOTIFY", "notify", _read_notify, True, "RFC 3461 §4.1"),
        Parameter("ORCPT", "orcpt", _read_orcpt, True, "RFC 3461 §4.2"),
    )
}


def _read_parameters(text: str, known: dict[str, Parameter], unknown: Reply) -> dict[str, Any]:
    """` SIZE=5120 BODY=8BITMIME` → fields of Sender or Recipient."""
    values: dict[str, Any] = {}
    for word in text.split(" "):
        if not word:
            continue
        keyword, equals, value = word.partition("=")
        if _KEYWORD.match(keyword) is None or (equals and _VALUE.match(value) is None):
            raise Refused(SYNTAX_ERROR)
        row = known.get(keyword.upper())
        if row is None:
            raise Refused(unknown)
        if row.field in values:
            raise Refused(SYNTAX_ERROR.saying(f"{row.keyword} is given twice"))
        if bool(equals) != row.needs_value:
            raise Refused(SYNTAX_ERROR.saying(f"Bad {row.keyword} parameter"))
        try:
            values[row.field] = row.read(value)
        except ValueError:
            raise Refused(SYNTAX_ERROR.saying(f"Bad {row.keyword} parameter")) from None
    return values
