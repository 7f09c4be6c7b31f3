"""What FETCH says of each message, on both sides, in a form in which only differences of meaning differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tests.beside.wire import Answer, Pair, Value, literal

STRUCTURES = ("BODY", "BODYSTRUCTURE")
PARTS = ("1", "2", "3", "1.1", "1.2", "2.1", "1.1.1", "1.2.1", "1.1.1.1")
FIELDS = ("From", "Subject", "Content-Type", "X-None", "Date", "X", "Sub.ject")
ITEMS = (
    "ENVELOPE", "BODY", "BODYSTRUCTURE", "RFC822.SIZE", "BODY[]", "BODY[HEADER]", "BODY[TEXT]",
    *(f"BODY[HEADER.FIELDS ({field})]" for field in FIELDS),
    "BODY[HEADER.FIELDS (to FROM content-type SUBJECT)]",
    *(f"BODY[HEADER.FIELDS.NOT ({field})]" for field in FIELDS),
    "BODY[]<0.10>", "BODY[]<5.100000>", "BODY[]<1000000.1>", "BODY[TEXT]<3.4>", "BODY[HEADER]<10.20>",
    "BODY[1]<2.3>", "BODY[1]<100000.5>", "BODY[HEADER.FIELDS (Subject)]<3.5>",
    "RFC822.HEADER",
    *(f"BODY[{part}{of}]" for part in PARTS for of in ("", ".MIME", ".HEADER", ".TEXT")),
    *(f"BODY[{part}.HEADER.FIELDS (Subject)]" for part in PARTS),
    *(f"BODY[{part}.HEADER.FIELDS.NOT (Subject)]" for part in PARTS),
)  # fmt: skip


class Difference(NamedTuple):
    """One item of one letter, of which the servers say different things."""

    name: str
    letter: bytes
    item: str
    ours: Value
    theirs: Value
    structure: Value
    """Our BODYSTRUCTURE of the letter."""

    def __str__(self) -> str:
        ours, theirs = (repr(said)[:1000] for said in (self.ours, self.theirs))
        return f"{self.name}, {self.item}:\n  ours   {ours}\n  theirs {theirs}"


def fill(pair: Pair, letters: Iterable[bytes], mailbox: bytes = b"INBOX") -> None:
    """Append the letters, in one command."""
    for answer in pair.do(b"APPEND " + mailbox + b"".join(b" " + literal(letter) for letter in letters)):
        assert answer.condition == "OK", answer


def differences(
    pair: Pair, letters: Mapping[str, bytes], items: Iterable[str] = ITEMS
) -> Iterator[Difference]:
    """For the letters of the selected mailbox, in their order."""
    asked = " ".join(item.replace("BODY[", "BODY.PEEK[") for item in items)
    ours, theirs = map(by_message, pair.do(f"FETCH 1:* ({asked})".encode()))
    assert len(ours) == len(theirs) == len(letters)
    for (name, letter), here, there in zip(letters.items(), ours, theirs, strict=True):
        assert here.keys() == there.keys(), (name, here.keys() ^ there.keys())
        for item in here:
            if here[item] != there[item]:
                yield Difference(name, letter, item, here[item], there[item], here["BODYSTRUCTURE"])


def by_message(answer: Answer) -> list[dict[str, Value]]:
    """The items of each message, by number."""
    assert answer.condition == "OK", answer.text
    found = []
    for _, _, items in sorted(answer.all("FETCH", 1), key=lambda one: int(one[0])):
        pairs = dict(zip(map(str, items[::2]), items[1::2], strict=True))
        found.append({name.upper(): _canonical(name.upper(), value) for name, value in pairs.items()})
    return found


def _canonical(name: str, value: Value) -> Value:
    return structure(value) if name in STRUCTURES else value


def structure(value: Value) -> Value:
    """A body, with those strings in lower case whose case means nothing (RFC 2045 §5.1, RFC 2183 §2)."""
    if not isinstance(value, list) or not value:
        return value
    if isinstance(value[0], list):
        count = next(at for at, one in enumerate(value) if not isinstance(one, list))
        kind, *rest = value[count:]
        return [*map(structure, value[:count]), _lower(kind), *_extension(rest)]
    kind, subtype, parameters, id_, description, encoding, size, *rest = value
    body = [_lower(kind), _lower(subtype), _named(parameters), id_, description, _lower(encoding), size]
    if [_lower(kind), _lower(subtype)] in ([b"message", b"rfc822"], [b"message", b"global"]):
        inner, structured, lines, *rest = rest
        return [*body, inner, structure(structured), lines, *_extension_of_single(rest)]
    if _lower(kind) == b"text":
        return [*body, rest[0], *_extension_of_single(rest[1:])]
    return [*body, *_extension_of_single(rest)]


def _lower(value: Value) -> Value:
    return value.lower() if isinstance(value, bytes) else value


def _named(parameters: Value) -> Value:
    if not isinstance(parameters, list):
        return parameters
    return [one if at % 2 else _lower(one) for at, one in enumerate(parameters)]


def _extension(rest: list[Value]) -> list[Value]:
    """Of a multipart: parameters, and what all have."""
    return [_named(rest[0]), *_common(rest[1:])] if rest else []


def _extension_of_single(rest: list[Value]) -> list[Value]:
    return [rest[0], *_common(rest[1:])] if rest else []


def _common(rest: list[Value]) -> list[Value]:
    disposition, language, location = rest
    if isinstance(disposition, list):
        disposition = [_lower(disposition[0]), _named(disposition[1])]
    return [disposition, language if isinstance(language, list | None) else [language], location]
