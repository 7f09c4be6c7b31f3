"""Whatever a server, a program or a user says: an error with words, never an exception of another kind."""

from __future__ import annotations

import io
import os
import socket

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.cli.addressees import read_addresses
from posthouse.cli.conversation import Conversation
from posthouse.cli.dialogue import exit_code_of
from posthouse.cli.handshake import Handshake
from posthouse.cli.plainly import heard, printable, said
from posthouse.cli.sendmailoptions import UsageError, read_options
from posthouse.cli.stdinletter import read_letter
from posthouse.mail.address import AddressError
from posthouse.mail.reply import Reply

replies = st.lists(
    st.sampled_from(
        [b"250-", b"250 ", b"354 x", b"421 ", b"334 ", b"\r\n", b"\n", b"\xff", b"x" * 500, b"220 "]
    ),
    max_size=30,
).map(b"".join)


def no_tls(connection: socket.socket) -> Handshake:
    raise ConnectionAbortedError


@settings(max_examples=200, deadline=None)
@given(replies | st.binary(max_size=200), st.lists(st.binary(max_size=30), max_size=6), st.booleans())
def test_a_conversation_ends_well_or_with_an_error_of_the_network(
    octets: bytes, lines: list[bytes], lmtp: bool
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(octets)
        theirs.shutdown(socket.SHUT_WR)
        conversation = Conversation(ours, no_tls, lmtp=lmtp, crlf=True, timeout=5.0, echo=True)
        try:
            conversation.hear()
            for line in [*lines, b"DATA", b".", b"BDAT 3 LAST", b"xyz", b"AUTH PLAIN", b"x", b"STARTTLS"]:
                conversation.overhear()
                if conversation.over:
                    return
                conversation.say(line, echo=True)
            conversation.finish()
        except OSError:
            return


@given(st.text(max_size=200) | st.from_regex(r"[2-5]\d\d[ -].*"))
def test_every_line_can_be_explained_and_shown(line: str) -> None:
    assert printable(heard(line) + said(line) + line).isprintable()


@given(st.lists(st.text(max_size=8) | st.sampled_from(["-t", "-oi", "-f", "-bs", "--", "-N"]), max_size=6))
def test_a_command_line_is_read_or_refused(arguments: list[str]) -> None:
    try:
        told = read_options(arguments).mode
    except UsageError as error:
        told = str(error)

    assert told


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"A: b", b" ", b"From ", b"x" * 40_000])).map(b"".join))
def test_a_letter_comes_out_with_crlf_alone(octets: bytes) -> None:
    with read_letter(io.BytesIO(octets), dot_ends=False) as letter:
        read = letter.read()

    assert len(read) == letter.size
    assert b"\r" not in read.replace(b"\r\n", b"")
    assert b"\n" not in read.replace(b"\r\n", b"")


@given(st.binary(max_size=100))
def test_an_address_list_is_read_or_refused(text: bytes) -> None:
    try:
        found = read_addresses(text, "north.test")
    except AddressError:
        return

    assert all(address.domain for _, address in found)


@given(st.lists(st.integers(200, 599), min_size=1))
def test_success_is_only_what_is_positive_for_all(codes: list[int]) -> None:
    replies = [Reply(code, "", "") for code in codes]

    assert (exit_code_of(*replies) == os.EX_OK) == all(code < 400 for code in codes)
    assert (exit_code_of(*replies) == os.EX_TEMPFAIL) == (400 <= max(codes) < 500)
