"""The small automata: lines, dots, chunks, xtext, SASL, PROXY headers, replies."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from posthouse.mail.reply import Reply
from posthouse.protocol import sasl
from posthouse.protocol.lines import BareLineEnding, LineBuffer, LineTooLong, has_bare_line_ending
from posthouse.protocol.proxy import ProxyError, ProxyParser
from posthouse.protocol.sasl.plain import LoginServer, PlainServer
from posthouse.protocol.smtp.data import PIECE, ChunkReader, DotReader, DotWriter
from posthouse.protocol.smtp.grammar import decode_xtext, encode_xtext
from posthouse.protocol.smtp.replies import LINE_LIMIT, BadReply, ReplyReader

TEXTS = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"x", b"\r\n.", b"\r\n.\r\n"]), max_size=30
).map(b"".join)


# ── lines ────────────────────────────────────────────────────────────────────────────────────────────


@given(TEXTS)
def test_bare_line_endings_are_found_exactly(octets: bytes) -> None:
    counted = octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n")
    assert has_bare_line_ending(octets) is not counted


def test_a_line_may_be_as_long_as_the_limit_and_no_longer() -> None:
    buffer = LineBuffer()
    buffer.feed(b"12345678\r\n123456789\r\nx\r\n")
    assert buffer.next_line(10) == b"12345678"
    with pytest.raises(LineTooLong):
        buffer.next_line(10)
    assert buffer.next_line(10) == b"x"


def test_an_endless_line_is_reported_once_and_not_kept() -> None:
    buffer = LineBuffer()
    buffer.feed(b"x" * 20)
    with pytest.raises(LineTooLong):
        buffer.next_line(10)
    for _ in range(100):
        buffer.feed(b"x" * 20)
        assert buffer.next_line(10) is None
        assert len(buffer) == 0
    buffer.feed(b"\r")
    assert buffer.next_line(10) is None
    buffer.feed(b"\nNOOP\r\n")
    assert buffer.next_line(10) == b"NOOP"


def test_a_line_with_a_bare_ending_is_skipped_up_to_its_crlf() -> None:
    buffer = LineBuffer()
    buffer.feed(b"one\ntwo\nthree\r\nfour\rfive\r\nsix\r\n")
    for _ in range(2):
        with pytest.raises(BareLineEnding):
            buffer.next_line(100)
    assert buffer.next_line(100) == b"six"


# ── dots ─────────────────────────────────────────────────────────────────────────────────────────────


def stuffed(pieces: list[bytes]) -> bytes:
    writer = DotWriter()
    return b"".join([*map(writer.write, pieces), writer.finish()])


def unstuffed(wire: bytes, cut: int) -> tuple[bytes, bytes]:
    """What a DotReader makes of it, fed `cut` octets at a time; and what it left."""
    reader, buffer, text = DotReader(), LineBuffer(), b""
    for start in range(0, len(wire), cut):
        buffer.feed(wire[start : start + cut])
        while not reader.finished and (piece := reader.read(buffer)) is not None:
            text += piece
    assert reader.finished
    return text, bytes(buffer.octets[buffer.start :])


@given(st.lists(TEXTS, max_size=6), st.integers(1, 40))
@example([b"."], 1)
@example([b".\r", b"\n.", b"\r\n."], 1)
def test_dots_come_back_as_they_went(pieces: list[bytes], cut: int) -> None:
    text = b"".join(pieces)
    wire = stuffed(pieces)
    assert wire == stuffed([text])
    ended = (
        text if not text or text.endswith(b"\r\n") else text + (b"\n" if text.endswith(b"\r") else b"\r\n")
    )
    received, rest = unstuffed(wire, cut)
    assert received + rest == ended + rest
    assert received == ended


def test_the_end_of_data_inside_a_letter_is_stuffed() -> None:
    assert stuffed([b"a\r\n.\r\nQUIT\r\n"]) == b"a\r\n..\r\nQUIT\r\n.\r\n"
    assert stuffed([b"a\r\n", b".", b"\r\nQUIT\r\n"]) == b"a\r\n..\r\nQUIT\r\n.\r\n"


@pytest.mark.parametrize(
    "line", [b"x" * 70 + b"\r\n", b".\r\r\n", b"x" * 100_000 + b"\r\n", b"..\r\n", b"\r\n"]
)
@pytest.mark.parametrize("cut", [1000, 65_536, 10_000_000])
def test_large_letters_come_in_pieces_of_whole_lines(line: bytes, cut: int) -> None:
    text = line * (400_000 // len(line))
    reader, buffer, pieces = DotReader(), LineBuffer(), []
    wire = stuffed([text])
    for start in range(0, len(wire), cut):
        buffer.feed(wire[start : start + cut])
        while not reader.finished and (piece := reader.read(buffer)) is not None:
            pieces.append(piece)
        assert len(buffer) <= PIECE + cut
    assert b"".join(pieces) == text
    assert not any(piece.endswith(b"\r") for piece in pieces)


def test_chunks_hold_back_a_cr_for_its_lf() -> None:
    reader, buffer = ChunkReader(), LineBuffer()
    reader.expect(2, last=False)
    buffer.feed(b"a\r")
    assert reader.read(buffer) == b"a"
    assert reader.finished
    reader.expect(2, last=True)
    buffer.feed(b"\nb")
    assert reader.read(buffer) == b"\r\nb"
    assert reader.finished


# ── xtext (RFC 3461 §4) ──────────────────────────────────────────────────────────────────────────────


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_xtext_round_trip(text: str) -> None:
    encoded = encode_xtext(text)
    assert " " not in encoded
    assert "=" not in encoded
    assert decode_xtext(encoded) == text


@pytest.mark.parametrize("bad", ["+", "+4", "+4a", "a=b", "a b", "é", "+GG"])
def test_bad_xtext(bad: str) -> None:
    with pytest.raises(ValueError, match="xtext"):
        decode_xtext(bad)


# ── SASL ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_client_and_server_mechanisms_agree(mechanism: str) -> None:
    credentials = sasl.Credentials("zoë", "pass\twörd")
    client = sasl.CLIENT_MECHANISMS[mechanism](credentials)
    server = PlainServer() if mechanism == "PLAIN" else LoginServer()
    result = server.step(client.initial)
    while isinstance(result, bytes):
        result = server.step(client.step(result))
    assert result == credentials


@pytest.mark.parametrize(
    "response", [b"", b"a", b"\0a", b"\0a\0", b"\0\0p", b"\0a\0b\0c", b"\0\xff\0p", b"\0a\0" + b"p" * 2000]
)
def test_bad_plain_responses(response: bytes) -> None:
    with pytest.raises(sasl.SaslError):
        PlainServer().step(response)


def test_login_wants_a_name() -> None:
    with pytest.raises(sasl.SaslError):
        LoginServer().step(b"")


@pytest.mark.parametrize("text", [b"=", b"a", b"YQ", b"Y Q=", b"YQ==\n", b"\xff"])
def test_bad_base64(text: bytes) -> None:
    with pytest.raises(sasl.SaslError):
        sasl.decode(text)


def test_credentials_hide_the_password() -> None:
    assert "geheim" not in repr(sasl.Credentials("alice", "geheim"))


# ── PROXY ────────────────────────────────────────────────────────────────────────────────────────────

V2 = b"\r\n\r\n\x00\r\nQUIT\n"
IPV4 = V2 + b"\x21\x11" + struct.pack("!H4B4BHH", 12, 192, 0, 2, 1, 192, 0, 2, 2, 4711, 25)
IPV6 = (
    V2 + b"\x21\x21" + struct.pack("!H", 39) + bytes(15) + b"\x01" + bytes(16) + b"\0\x19\0\x19" + b"\4\0\0"
)
HEADERS = [
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 25\r\n", "192.0.2.1", 4711),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n", "2001:db8::1", 4711),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None, 0),
    (b"PROXY UNKNOWN\r\n", None, 0),
    (IPV4, "192.0.2.1", 4711),
    (IPV6, "::1", 25),
    (V2 + b"\x20\x00\0\0", None, 0),
    (V2 + b"\x21\x31" + struct.pack("!H", 216) + bytes(216), None, 0),
]


@pytest.mark.parametrize(("header", "source", "port"), HEADERS)
@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_proxy_header(header: bytes, source: str | None, port: int, cut: int) -> None:
    parser, octets = ProxyParser(), header + b"EHLO x\r\n"
    for start in range(0, len(octets), cut):
        data = octets[start : start + cut]
        parsed = parser.feed(data)
        if parsed is not None:
            assert parsed[:2] == (source, port)
            assert start + parsed.consumed == len(header)
            return
    raise AssertionError("never whole")


@pytest.mark.parametrize(
    "bad",
    [
        b"EHLO x\r\n", b"PROXY TCP4 192.0.2.1\r\n", b"PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 70000 25\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 x 25\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", b"PROXY " + b"x" * 107, b"PROXY \xff\r\n",
        V2 + b"\x11\x11\0\x0c" + bytes(12), V2 + b"\x22\x11\0\x0c" + bytes(12),
        V2 + b"\x21\x11\0\x04" + bytes(4),
        V2 + b"\x21\x11\xff\xff",
    ],
)  # fmt: skip
def test_bad_proxy_header(bad: bytes) -> None:
    with pytest.raises(ProxyError):
        ProxyParser().feed(bad)


@given(st.binary(max_size=300))
def test_proxy_parser_never_breaks(octets: bytes) -> None:
    parser = ProxyParser()
    try:
        parser.feed(b"PROXY " + octets)
        ProxyParser().feed(V2 + octets)
    except ProxyError:
        pass


# ── replies ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wire", "reply"),
    [
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", "Ok")),
        (b"250 Ok\n", Reply(250, "", "Ok")),
        (b"250\r\n", Reply(250, "", "")),
        (b"550-5.1.1 No\r\n550 5.1.1 such user\r\n", Reply(550, "5.1.1", "No\nsuch user")),
        (b"250-mx.example\r\n250-SIZE 10\r\n250 DSN\r\n", Reply(250, "", "mx.example\nSIZE 10\nDSN")),
        (b"550 4.1.1 classes disagree\r\n", Reply(550, "", "4.1.1 classes disagree")),
        (b"450 4.7.1\r\n", Reply(450, "4.7.1", "")),
        (b"250 caf\xe9\x1b[1m\r\n", Reply(250, "", "caf\ufffd [1m")),
    ],
)
@pytest.mark.parametrize("cut", [1, 1000])
def test_replies_are_read(wire: bytes, reply: Reply, cut: int) -> None:
    reader = ReplyReader()
    for start in range(0, len(wire), cut):
        assert reader.next_reply() is None
        reader.feed(wire[start : start + cut])
    assert reader.next_reply() == reply
    assert len(reader) == 0


@pytest.mark.parametrize(
    "wire",
    [b"hello\r\n", b"25 Ok\r\n", b"2500 Ok\r\n", b"150 Ok\r\n", b"650 Ok\r\n", b"250-a\r\n251 b\r\n", b"\r\n",
     b"x" * (LINE_LIMIT + 1), b"250 " + b"x" * LINE_LIMIT + b"\r\n", b"250-more\r\n" * 10_000],
)  # fmt: skip
def test_nonsense_is_no_reply(wire: bytes) -> None:
    reader = ReplyReader()
    reader.feed(wire)
    with pytest.raises(BadReply):
        reader.next_reply()
