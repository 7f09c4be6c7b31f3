"""Limits, deadlines and the end of a session."""

from __future__ import annotations

import base64

from posthouse.protocol.pop3.server import (
    Limits,
    Listing,
    Login,
    Maildrop,
    Quit,
    Refusal,
    Retrieve,
    ServerSession,
)
from posthouse.protocol.sasl import Token


def opened(limits: Limits | None = None, count: int = 3) -> ServerSession:
    core = ServerSession("h", plaintext_login=True, limits=limits or Limits())
    core.next_event()
    core.answer(None)
    core.receive(b"USER a\r\nPASS b\r\n")
    assert core.next_event() == Login("a", "b")
    core.answer(Maildrop([10] * count, [f"u{n}" for n in range(count)]))
    core.take_output()
    return core


def test_listings_leave_out_what_is_deleted() -> None:
    core = opened()
    core.receive(b"DELE 2\r\nLIST\r\nUIDL\r\n")
    listing = core.next_event()
    assert isinstance(listing, Listing)
    assert b"".join(listing.chunks) == b"+OK Scan listing follows\r\n1 10\r\n3 10\r\n.\r\n"
    core.answer(None)
    listing = core.next_event()
    assert isinstance(listing, Listing)
    assert b"".join(listing.chunks) == b"+OK Unique-ids follow\r\n1 u0\r\n3 u2\r\n.\r\n"


def test_a_long_listing_comes_in_pieces() -> None:
    core = opened(count=100_000)
    core.receive(b"LIST\r\n")
    listing = core.next_event()
    assert isinstance(listing, Listing)
    sizes = [len(chunk) for chunk in listing.chunks]
    assert len(sizes) > 10
    assert max(sizes) < 64 * 1024


def test_silence_ends_without_deleting() -> None:
    core = opened()
    core.receive(b"DELE 1\r\n")
    assert core.next_event() is None
    assert core.timeout == 600.0
    core.time_out()
    assert core.closing
    assert core.next_event() is None


def test_shutting_down_waits_for_the_answer_in_flight_and_deletes_nothing() -> None:
    core = opened()
    core.receive(b"DELE 1\r\nRETR 2\r\nQUIT\r\n")
    assert core.next_event() == Retrieve(2, None)
    core.shut_down()
    assert not core.closing
    core.answer(None)
    assert core.closing
    assert core.next_event() is None


def test_quit_may_fail_to_remove() -> None:
    core = opened()
    core.receive(b"DELE 1\r\nQUIT\r\n")
    assert core.next_event() == Quit((1,))
    core.answer(Refusal("Some deleted messages were not removed", "SYS/TEMP"))
    assert core.take_output().endswith(b"-ERR [SYS/TEMP] Some deleted messages were not removed\r\n")
    assert core.closing


def test_too_many_errors_end_the_session() -> None:
    core = opened(Limits(errors=3))
    core.receive(b"FROB\r\nRETR 9\r\nFROB\r\nSTAT\r\n")
    assert core.next_event() is None
    assert core.take_output().endswith(b"-ERR [SYS/PERM] Too many errors, closing\r\n")
    assert core.closing


def test_errors_between_commands_that_work_never_end_the_session() -> None:
    core = opened(Limits(errors=3))
    for _ in range(5):
        core.receive(b"RETR 9\r\nDELE 9\r\nSTAT\r\n")
        assert core.next_event() is None
    assert core.take_output().endswith(b"-ERR No such message\r\n+OK 3 30\r\n")
    assert not core.closing


def test_before_login_commands_that_work_forgive_no_failed_login() -> None:
    core = ServerSession("h", plaintext_login=True, limits=Limits(errors=3))
    core.next_event()
    core.answer(None)
    for _ in range(3):
        core.receive(b"CAPA\r\nUSER a\r\nPASS b\r\n")
        assert core.next_event() == Login("a", "b")
        core.answer(Refusal("Wrong", "AUTH"))
    assert core.closing


def test_a_session_that_has_been_silent_too_long_ends_without_a_word() -> None:
    """RFC 1939 §3: a response would be taken for that to the next command."""
    core = opened()
    core.receive(b"DELE 1\r\n")
    assert core.next_event() is None
    core.take_output()
    core.time_out()
    assert core.closing
    assert core.take_output() == b""
    assert core.next_event() is None


def test_what_follows_a_line_too_long_is_understood() -> None:
    core = opened(Limits(line=100))
    core.receive(b"STAT " + b"x" * 5000 + b"\r\nSTAT\r\n")
    assert core.next_event() is None
    assert core.take_output() == b"-ERR Line too long\r\n+OK 3 30\r\n"


def test_a_client_that_leaves_without_quit_deletes_nothing() -> None:
    core = opened()
    core.receive(b"DELE 1\r\n")
    core.receive_eof()
    assert core.next_event() is None
    assert core.closing


def test_utf8_comes_after_tls_and_before_the_login() -> None:
    """RFC 6856 §2.1."""
    core = ServerSession("h", tls_available=True)
    core.next_event()
    core.answer(None)
    core.take_output()
    core.receive(b"UTF8\r\nSTLS\r\n")
    assert core.next_event() is None
    assert core.take_output() == b"+OK UTF-8 it is\r\n-ERR STLS comes before UTF8\r\n"
    assert not core.wants_tls
    core = opened()
    core.receive(b"UTF8\r\n")
    assert core.next_event() is None
    assert core.take_output() == b"-ERR UTF8 is not allowed in the TRANSACTION state\r\n"


def test_a_login_name_may_hold_spaces() -> None:
    core = ServerSession("h", plaintext_login=True)
    core.next_event()
    core.answer(None)
    core.receive(b"USER a@b.test/Slow food \r\nPASS x\r\n")
    assert core.next_event() == Login("a@b.test/Slow food", "x")


def test_a_long_token_may_come_with_the_command() -> None:
    """RFC 5034 §4 would have it wait for `+`; not all clients do."""
    core = ServerSession("mail.example.org", plaintext_login=True, mechanisms=("XOAUTH2",))
    core.next_event()
    core.answer(None)
    said = base64.b64encode(b"user=bob\x01auth=Bearer " + b"x" * 5000 + b"\x01\x01")
    core.receive(b"AUTH XOAUTH2 " + said + b"\r\n")
    assert core.next_event() == Token("XOAUTH2", "bob", "x" * 5000)
