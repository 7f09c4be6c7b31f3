"""Whatever a client sends: no exception, bounded memory, and the same answers however it is cut."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.protocol.pop3.multiline import ByteStuffer, TopOfMessage
from posthouse.protocol.pop3.server import (
    Connected,
    Listing,
    Login,
    Maildrop,
    Quit,
    Refusal,
    Retrieve,
    ServerSession,
    response_to,
)
from posthouse.protocol.pop3.verbs import VERBS

WORDS = [verb.name.encode() for verb in VERBS] + [
    b"1", b"2", b"3", b"4", b"0", b"-1", b"99999999999", b"bob", b"PLAIN", b"LOGIN",
    b"de", b"*", b"AGJvYgBzZWNyZXQ=", b"=", b"*\r\n", b"Ym9i\r\n", b"\r\n", b"\n", b"\r", b"\0", b"\xff",
    b"x" * 2000,
]  # fmt: skip
line = st.lists(st.sampled_from(WORDS), max_size=4).map(b" ".join)
sessions = st.lists(
    st.one_of(line.map(lambda text: text + b"\r\n"), line, st.binary(max_size=30)), max_size=15
).map(b"".join)
message = st.lists(
    st.sampled_from([b".", b"\r\n", b"\n", b"\r", b"a", b"..", b"\r\n.\r\n"]), max_size=20
).map(b"".join)


def play(pieces: Iterator[bytes], *, logged_in: bool) -> tuple[bytes, list[str]]:
    core = ServerSession("h", plaintext_login=True)
    said: list[bytes] = []
    events: list[str] = []

    def turn() -> None:
        while (event := core.next_event()) is not None:
            said.append(core.take_output())
            if isinstance(event, Listing):
                said.extend(event.chunks)
            else:
                events.append(repr(event))
            core.answer(decide(event))
        said.append(core.take_output())

    turn()
    if logged_in:
        core.receive(b"USER a\r\nPASS b\r\n")
        turn()
    for piece in pieces:
        core.receive(piece)
        turn()
        assert len(core._input) <= 20_000
    core.receive_eof()
    turn()
    assert core.closing
    return b"".join(said), events


def decide(event: object) -> Maildrop | Refusal | None:
    if isinstance(event, Login):
        return Maildrop([10, 20, 30], ["a", "b", "c"])
    if isinstance(event, Retrieve):
        return Refusal("no")
    assert isinstance(event, Connected | Listing | Quit)
    return None


@given(sessions, st.booleans(), st.integers(1, 7))
@settings(max_examples=300, deadline=None)
def test_sessions_do_not_depend_on_how_they_are_cut(data: bytes, logged_in: bool, size: int) -> None:
    whole = play(iter([data]), logged_in=logged_in)
    cut = play((data[at : at + size] for at in range(0, len(data), size)), logged_in=logged_in)
    assert cut == whole


@given(sessions)
@settings(max_examples=200, deadline=None)
def test_nothing_is_deleted_without_quit(data: bytes) -> None:
    _, events = play(iter([data.upper().replace(b"QUIT", b"NOOP")]), logged_in=True)
    assert not any("Quit" in event for event in events)


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(message, st.integers(1, 5))
@settings(max_examples=300)
def test_byte_stuffing_can_be_undone(data: bytes, size: int) -> None:
    stuffer = ByteStuffer()
    wire = b"".join(map(stuffer.feed, pieces_of(data, size))) + stuffer.finish()
    # what a client does: lines up to one that is a lone dot
    assert wire.endswith(b".\r\n")
    lines = wire.split(b"\n")
    end = lines.index(b".\r")
    assert end == len(lines) - 2
    undone = b"\n".join(text[1:] if text[:1] == b"." else text for text in [*lines[:end], b""])
    complete = (
        data if data.endswith(b"\r\n") or not data else data + (b"\n" if data[-1:] == b"\r" else b"\r\n")
    )
    assert undone == complete


@given(message, message, st.integers(0, 5), st.integers(1, 5))
@settings(max_examples=300)
def test_top_is_the_header_and_some_lines(head: bytes, body: bytes, lines: int, size: int) -> None:
    head = head.replace(b"\r\n", b"").replace(b"\n", b"").replace(b"\r", b"")
    data = b"H: " + head + b"\r\n\r\n" + body
    top = TopOfMessage(lines)
    got = b"".join(map(top.feed, pieces_of(data, size)))
    wanted = b"H: " + head + b"\r\n\r\n" + b"".join(text + b"\n" for text in body.split(b"\n")[:-1][:lines])
    if body.count(b"\n") < lines:
        wanted = data
    assert got == wanted


def test_a_response_ends_early_when_nothing_more_is_wanted() -> None:
    def endless() -> Iterator[bytes]:
        yield b"A: b\r\n\r\nfirst\r\n"
        while True:
            yield b"more\r\n"

    wire = b"".join(response_to(Retrieve(1, 1), 0, endless()))
    assert wire == b"+OK Top of message follows\r\nA: b\r\n\r\nfirst\r\n.\r\n"
