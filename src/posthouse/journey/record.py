"""Steps of a journey, and the rows in which they are kept.

A step is a plain tuple: kind, moment, and the fields that `KINDS` names for that kind. Steps collect in
memory while a letter is accepted or tried, and are written by the transaction that decides its fate: part
0 of a journey with the letter, later parts with each attempt. They hold no subject, no content and no
secret: passwords and AUTH lines are struck out here, whoever hands them in.

A journey is found by its id, and by what its first steps name (`journey.catalogue`).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx

Step: TypeAlias = tuple[Any, ...]
"""(kind, seconds since 1970 UTC, fields …)."""

DIALOGUE_LIMIT = 400
"""Lines of a dialogue that are kept; of a longer one the first and the last."""

LINE_LIMIT = 1000
"""Characters of a line or reply that are kept."""

_COMPRESS_FROM = 600

CONNECTED, HELO, TLS, AUTHENTICATED, SENDER, RECIPIENT, REFUSED, CONTENT, DECISION = range(9)
STORED, QUEUED, BOUNCED, DISCARDED, WRITTEN, DSN_SENT = range(9, 15)
ATTEMPT, DELIVERED, DEFERRED, FAILED, DELAY_WARNING, ADMINISTRATOR, REFUSED_SESSION = range(15, 22)

KINDS: dict[int, tuple[str, tuple[str, ...]]] = {
    CONNECTED: ("connected", ("address", "port", "listener")),
    HELO: ("helo", ("name",)),
    TLS: ("tls", ("version_and_cipher",)),
    AUTHENTICATED: ("authenticated", ("user", "mechanism")),
    SENDER: ("sender", ("address", "size")),
    RECIPIENT: ("recipient", ("address", "path")),
    REFUSED: ("refused", ("command", "reply")),
    CONTENT: ("content", ("size", "message_id")),
    DECISION: ("decision", ("rule", "verdict", "reason")),
    STORED: ("stored", ("number", "address", "mailbox", "uid")),
    QUEUED: ("queued", ("number", "recipient", "next_hop", "reason")),
    BOUNCED: ("bounced", ("number", "recipient", "reply")),
    DISCARDED: ("discarded", ("number", "recipient", "reason")),
    WRITTEN: ("written", ("parent", "recipients")),
    DSN_SENT: ("dsn-sent", ("child",)),
    ATTEMPT: ("attempt", ("numbers", "next_hop", "seconds", "dns", "peer", "tls", "dialogue")),
    DELIVERED: ("delivered", ("number", "recipient", "reply", "place")),
    DEFERRED: ("deferred", ("number", "recipient", "reply", "place", "next_attempt")),
    FAILED: ("failed", ("number", "recipient", "reply", "place")),
    DELAY_WARNING: ("delay-warning", ("number", "recipient", "child")),
    ADMINISTRATOR: ("administrator", ("action", "number", "who")),
    REFUSED_SESSION: ("refused-session", ("address", "count", "last", "command", "about", "reply")),
}
"""Name and field names of each kind."""


def connected(at: float, address: str, port: int, listener: str) -> Step:
    """A client connected. `address`: its IP address, or `local`; `listener`: smtp, submission, lmtp …"""
    return (CONNECTED, at, address, port, listener)


def helo(at: float, name: str) -> Step:
    """HELO, EHLO or LHLO, with what the client calls itself."""
    return (HELO, at, name[:LINE_LIMIT])


def tls(at: float, version_and_cipher: str) -> Step:
    """The connection is encrypted from here on: `TLSv1.3 TLS_AES_256_GCM_SHA384`."""
    return (TLS, at, version_and_cipher)


def authenticated(at: float, user: str, mechanism: str = "") -> Step:
    """The client logged in, by a mechanism of SASL; empty: the kernel told who he is."""
    return (AUTHENTICATED, at, user, mechanism)


def sender(at: float, address: str, size: int = 0) -> Step:
    """MAIL. `address` is empty for the null reverse-path, `size` the octets announced."""
    return (SENDER, at, address, size)


def recipient(at: float, address: str, path: Sequence[str] = ()) -> Step:
    """RCPT. `path` says how the address was resolved, one sentence a step."""
    return (RECIPIENT, at, address, path)


def refused(at: float, command: str, reply: str) -> Step:
    """A command that was refused in a session that went on, `RCPT TO:<carol@south.test>`."""
    return (REFUSED, at, redact(command)[:LINE_LIMIT], reply[:LINE_LIMIT])


def content(at: float, size: int, message_id: str = "") -> Step:
    """The letter's octets arrived."""
    return (CONTENT, at, size, message_id[:LINE_LIMIT])


def decision(at: float, rule: str, verdict: str, reason: str) -> Step:
    """What a rule of policy found: its name, `accept`, `refuse` and so on, and why."""
    return (DECISION, at, rule, verdict, reason[:LINE_LIMIT])


def stored(at: float, number: int, address: str, mailbox: str, uid: int) -> Step:
    """Recipient `number` has the letter in a mailbox of account `address`."""
    return (STORED, at, number, address, mailbox, uid)


def queued(at: float, number: int, recipient: str, next_hop: str, reason: str = "") -> Step:
    """A queue entry was made. `reason` is the reply that made it wait, if one did."""
    return (QUEUED, at, number, recipient, next_hop, reason)


def bounced(at: float, number: int, recipient: str, reply: str) -> Step:
    """Refused at acceptance for this recipient alone; the sender is told as NOTIFY says."""
    return (BOUNCED, at, number, recipient, reply[:LINE_LIMIT])


def discarded(at: float, number: int, recipient: str, reason: str) -> Step:
    """Dropped on purpose."""
    return (DISCARDED, at, number, recipient, reason[:LINE_LIMIT])


def written(at: float, parent: int, recipients: Sequence[str]) -> Step:
    """A letter that we wrote about the letter `parent`."""
    return (WRITTEN, at, parent, recipients)


def dsn_sent(at: float, child: int) -> Step:
    """A notification to the sender was written, with an id and a journey of its own."""
    return (DSN_SENT, at, child)


def attempt(
    at: float,
    numbers: Sequence[int],
    next_hop: str,
    *,
    seconds: float = 0.0,
    dns: Sequence[str] = (),
    peer: str = "",
    tls: str = "",
    dialogue: Sequence[tuple[str, str, float]] = (),
) -> Step:
    """One try to pass the letter on for the recipients `numbers`.

    `dns`: a line for each answer. `peer`: `host[address]:port`; empty where nobody was reached. `tls`:
    version and cipher. `dialogue`: direction (`>` ours, `<` theirs, `-` a remark), line, seconds
    since `at`.
    """
    return (ATTEMPT, at, numbers, next_hop, seconds, dns, peer, tls, redact_dialogue(dialogue))


def delivered(at: float, number: int, recipient: str, reply: str, place: str = "") -> Step:
    """The next hop took responsibility for this recipient."""
    return (DELIVERED, at, number, recipient, reply[:LINE_LIMIT], place)


def deferred(
    at: float, number: int, recipient: str, reply: str, place: str = "", next_attempt: float = 0.0
) -> Step:
    """Not this time. `next_attempt`: seconds since 1970 UTC."""
    return (DEFERRED, at, number, recipient, reply[:LINE_LIMIT], place, next_attempt)


def failed(at: float, number: int, recipient: str, reply: str, place: str = "") -> Step:
    """Given up for this recipient."""
    return (FAILED, at, number, recipient, reply[:LINE_LIMIT], place)


def delay_warning(at: float, number: int, recipient: str, child: int = 0) -> Step:
    """The sender was warned of the delay, by the letter `child`."""
    return (DELAY_WARNING, at, number, recipient, child)


def administrator(at: float, action: str, number: int, who: str = "") -> Step:
    """`action`: held, released, deleted or retried, by `who`. `number` 0: all recipients."""
    return (ADMINISTRATOR, at, action, number, who)


def refused_session(
    first: float, address: str, count: int, last: float, command: str, about: str, reply: str
) -> Step:
    """A client at `address` was refused `count` times from `first` to `last`, always with the same reply."""
    return (REFUSED_SESSION, first, address, count, last, command, about[:LINE_LIMIT], reply[:LINE_LIMIT])


def redact(line: str) -> str:
    """A client's line without its secrets."""
    words = line.split(None, 2)
    if len(words) > 2 and words[0].upper() == "AUTH":
        return f"{words[0]} {words[1]} [not shown]"
    return line


def redact_dialogue(dialogue: Sequence[tuple[str, str, float]]) -> list[tuple[str, str, float]]:
    """A dialogue without its secrets, shortened to the limits, times to the millisecond."""
    kept: list[tuple[str, str, float]] = []
    challenged = False
    for direction, line, offset in dialogue:
        if direction == "<":
            challenged = line.startswith("334")
        elif direction == ">":
            line = "[not shown]" if challenged else redact(line)
            challenged = False
        kept.append((direction, line[:LINE_LIMIT], round(offset, 3)))
    if len(kept) > DIALOGUE_LIMIT:
        half = DIALOGUE_LIMIT // 2
        left_out = len(kept) - 2 * half
        kept[half:-half] = [("-", f"({left_out} lines left out)", kept[half][2])]
    return kept


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[Any, ...]])


def encode(steps: Sequence[Step]) -> bytes:
    """Steps as stored: MessagePack, compressed where that is worth it."""
    packed = _encoder.encode(steps)
    # An array of MessagePack never begins with the octet that zlib begins with.
    return packed if len(packed) < _COMPRESS_FROM else zlib.compress(packed, 6)


def decode(stored: bytes) -> list[Step]:
    """What `encode` wrote. Raises msgspec.DecodeError or zlib.error for other octets."""
    return _decoder.decode(zlib.decompress(stored) if stored[:1] == b"\x78" else stored)


def begin(tx: Tx, journeys: Sequence[tuple[int, Sequence[Step]]]) -> None:
    """Write the first parts of journeys with these ids."""
    tx.many(_ADD, [(id, 0, encode(steps)) for id, steps in journeys])
    tx.many("INSERT INTO journey_new (id) VALUES (?)", [(id,) for id, _ in journeys])


def add(tx: Tx, id: int, part: int, steps: Sequence[Step]) -> None:
    """Write a later part of a journey. `part` is a new id, so that parts sort by time."""
    tx.run(_ADD, (id, part, encode(steps)))


_ADD = "INSERT INTO journey (id, part, steps) VALUES (?, ?, ?)"


class Journey(NamedTuple):
    """All that is known of one letter, or of one client's refused sessions."""

    id: int
    steps: list[Step]


def load(reader: Reader, id: int) -> Journey | None:
    """The journey with this id, steps in the order in which they were written; None if there is none."""
    rows = reader.all("SELECT steps FROM journey WHERE id = ? ORDER BY part", (id,))
    if not rows:
        return None
    return Journey(id, [step for (stored,) in rows for step in decode(bytes(stored))])
