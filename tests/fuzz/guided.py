"""Fuzzing that is led by what code has been reached (atheris, libFuzzer): parsers that face the network.

    python -m tests.fuzz.guided imap --runs 1000000 --corpus DIR

begins with the octets of `tests/transcripts`, changes them, and keeps what reaches new code, in DIR if one is
named, so that the next time goes on from there. What must hold are the properties of the tests beside this
one. Octets for which one does not hold are left in the working directory as `crash-…`, and the program ends
with their traceback; named as the corpus, that file is tried alone.

`test_guided.py` does it for a short while with the same chances each time; who changes a parser does it for
an hour.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import atheris

with atheris.instrument_imports(include=["posthouse"]):
    from posthouse.net import dnswire
    from posthouse.protocol.imap.client import decoded_name
    from posthouse.protocol.imap.responses import ImapProtocolError, Octets, ResponseReader
    from posthouse.protocol.imap.url import BadUrl, parse_authorized_url, parse_url
    from posthouse.protocol.imap.verbs import VERBS
    from posthouse.protocol.proxy import ProxyError, ProxyParser
    from tests.fuzz import test_imap, test_mail, test_pop3, test_smtp_client, test_smtp_server, test_text

from tests.beside.letters import CORPUS

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
LONGEST = 4096

Target: TypeAlias = Callable[[bytes], object]


def body(test: Callable[..., object]) -> Callable[..., object]:
    """What a property test does with its values, without what makes them."""
    inner: Callable[..., object] = test.hypothesis.inner_test  # type: ignore[attr-defined]
    return inner


def imap(data: bytes) -> None:
    chance, data = _chance(data)
    cut = body(test_imap.test_sessions_do_not_depend_on_how_they_are_cut)
    cut(data, bool(chance & 1), bool(chance & 2), 1 + chance % 7)


def imap_arguments(data: bytes) -> None:
    chance, data = _chance(data)
    body(test_imap.test_arguments_parse_or_are_a_syntax_problem)(data, VERBS[chance % len(VERBS)])


def imap_answers(data: bytes) -> None:
    """Another server's, from which mail is fetched: the same however they are cut."""
    chance, data = _chance(data)
    assert _answers(data, 1 + chance % 7) == _answers(data, LONGEST)


def _answers(data: bytes, size: int) -> list[object]:
    reader = ResponseReader()
    found: list[object] = []
    held = b""
    try:
        for at in range(0, len(data), size):
            reader.receive(data[at : at + size])
            while (response := reader.next()) is not None:
                if isinstance(response, Octets):
                    held += response.data
                else:
                    found += [held, response]
                    held = b""
    except ImapProtocolError:
        found.append("ended")
    return found


def imap_names(data: bytes) -> None:
    for reading in (parse_url, parse_authorized_url):
        try:
            reading(data.decode("latin-1"))
        except BadUrl:
            pass
    decoded_name(data, b"/").encode()


def pop3(data: bytes) -> None:
    chance, data = _chance(data)
    body(test_pop3.test_sessions_do_not_depend_on_how_they_are_cut)(data, bool(chance & 1), 1 + chance % 7)


def smtp(data: bytes) -> None:
    chance, data = _chance(data)
    cut = body(test_smtp_server.test_replies_do_not_depend_on_how_octets_are_cut)
    cut(data, 1 + chance % 50, chance >= 128)


def smtp_replies(data: bytes) -> None:
    chance, data = _chance(data)
    flags = [bool(chance & bit) for bit in (1, 2, 4, 8)]
    body(test_smtp_client.test_every_recipient_gets_one_reply)(data.split(b"\0"), 1 + chance % 3, *flags)


def message(data: bytes) -> None:
    body(test_mail.test_chunks_of_any_size_come_to_the_same_as_the_whole)(data, [1, 7, 64])
    body(test_mail.test_what_fetch_returns_is_well_formed_and_its_sizes_are_those_of_the_octets)(data)
    body(test_mail.test_header_parsers_take_anything)(data)


def text(data: bytes) -> None:
    chance, data = _chance(data)
    name = ("utf-8", "utf-7", "gb18030", "iso-2022-jp", "windows-1251")[chance % 5]
    encoding = ("8bit", "base64", "quoted-printable")[chance % 3]
    body(test_text.test_every_letter_has_a_text)(data, name, encoding, "html" if chance & 64 else "plain")


def address(data: bytes) -> None:
    said = data.decode("utf-8", "replace")
    body(test_mail.test_an_address_is_refused_or_comes_back_as_it_went)(said)
    body(test_mail.test_any_reply_is_explained)(said)


def dns(data: bytes) -> None:
    try:
        dnswire.read(data, "example.org", 15)
    except dnswire.Unreadable:
        pass


def proxy(data: bytes) -> None:
    parser = ProxyParser()
    try:
        for at in range(0, len(data), 5):
            if parser.feed(data[at : at + 5]) is not None:
                return
    except ProxyError:
        pass


def _chance(data: bytes) -> tuple[int, bytes]:
    return (data[0], data[1:]) if data else (0, b"")


def dialogues(kind: str, side: str) -> Iterator[bytes]:
    """What is said in the dialogues of one protocol, by one side: C or S."""
    for path in sorted(TRANSCRIPTS.glob(f"{kind}_*.txt")):
        lines = path.read_bytes().splitlines()
        said = [
            line[3:] + (b"" if line[1:2] == b"|" else b"\r\n") for line in lines if line[:1] == side.encode()
        ]
        yield b"\x03" + b"".join(said)[: LONGEST - 1]


def commands() -> Iterator[bytes]:
    """The arguments of the commands in the dialogues of IMAP, and which command it is."""
    names = {verb.name: place for place, verb in enumerate(VERBS)}
    for said in dialogues("imap", "C"):
        for line in said.split(b"\r\n"):
            _, _, command = line.partition(b" ")
            name, _, arguments = command.partition(b" ")
            if (place := names.get(name.decode("latin-1").upper())) is not None and place < 256:
                yield bytes([place]) + arguments


def letters() -> Iterator[bytes]:
    """Letters with parts, and strange ones."""
    for letter in CORPUS.values():
        yield letter[:LONGEST]


TARGETS: dict[str, tuple[Target, Callable[[], Iterator[bytes]]]] = {
    "imap": (imap, lambda: dialogues("imap", "C")),
    "imap-arguments": (imap_arguments, commands),
    "imap-answers": (imap_answers, lambda: dialogues("imap", "S")),
    "imap-names": (
        imap_names,
        lambda: iter([b"/INBOX;UIDVALIDITY=3/;UID=5/;SECTION=1.2;PARTIAL=0.5", b"&AOQ-/x"]),
    ),
    "pop3": (pop3, lambda: dialogues("pop3", "C")),
    "smtp": (smtp, lambda: dialogues("smtp", "C")),
    "smtp-replies": (smtp_replies, lambda: dialogues("smtp", "S")),
    "message": (message, letters),
    "text": (text, letters),
    "address": (address, lambda: iter([b'"a b"@example.org', b"<a@[192.0.2.1]>", b"550 5.7.1 no"])),
    "dns": (dns, lambda: iter([bytes(12)])),
    "proxy": (proxy, lambda: iter([b"PROXY TCP4 192.0.2.1 192.0.2.2 5 25\r\n"])),
}
"""What is fuzzed, and with what it begins."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__.split("\n")[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=1_000_000, help="how often, at most")
    parser.add_argument("--chance", type=int, default=1, help="the same number makes the same choices")
    parser.add_argument(
        "--corpus", type=Path, help="folder that keeps what reached new code, or one file to try"
    )
    options = parser.parse_args()
    target, seeds = TARGETS[options.target]
    with tempfile.TemporaryDirectory() as begin:
        for number, seed in enumerate(seeds()):
            (Path(begin) / f"{number:04}").write_bytes(seed)
        corpus = [str(options.corpus)] if options.corpus else []
        one = options.corpus is not None and options.corpus.is_file()
        fixed = [f"-runs={options.runs}", f"-seed={options.chance}", f"-max_len={LONGEST}", "-timeout=60"]
        atheris.Setup([sys.argv[0], *fixed, *corpus, *([] if one else [begin])], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
