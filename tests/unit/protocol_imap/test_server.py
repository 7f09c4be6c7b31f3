"""Limits, deadlines and the end of a session."""

from __future__ import annotations

import pytest

from posthouse.protocol.imap import commands, verbs
from posthouse.protocol.imap.server import Limits, Literal, Result, ServerSession


def logged_in(limits: Limits | None = None) -> ServerSession:
    core = ServerSession("h", plaintext_login=True, limits=limits or Limits())
    core.next_event()
    core.answer(None)
    core.receive(b"x LOGIN a b\r\n")
    core.next_event()
    core.answer(Result("OK", "Welcome"))
    core.take_output()
    return core


def test_a_message_of_50_mb_passes_through_and_is_never_held() -> None:
    # given an APPEND of 50 MB
    core = logged_in()
    piece = b"x" * 65536
    core.receive(b"a APPEND INBOX {%d+}\r\n" % (len(piece) * 800))
    assert isinstance(core.next_event(), commands.Append)
    core.answer(None)
    # when it comes in pieces, then each goes out at once, the very same octets, and nothing stays
    for _ in range(800):
        core.receive(piece)
        event = core.next_event()
        assert isinstance(event, Literal)
        assert event.octets is piece
        core.answer(None)
        assert len(core._lines) == 0


def test_one_event_is_outstanding_at_a_time() -> None:
    core = logged_in()
    core.receive(b'a NOOP\r\nb CHECK\r\nc LIST "" *\r\n')
    assert isinstance(core.next_event(), commands.Noop)
    assert core.next_event() is None
    core.answer(Result("OK", "done"))
    # CHECK is refused without an event: no mailbox is selected
    assert isinstance(core.next_event(), commands.List)
    assert core.take_output() == b"a OK done\r\nb BAD CHECK: select a mailbox first\r\n"


def test_a_line_without_end_closes_the_session() -> None:
    core = logged_in(Limits(command=1000))
    core.receive(b"a NOOP " + b"x" * 1000)
    assert core.next_event() is None
    assert core.take_output() == b"* BYE [TOOBIG] Command line too long\r\n"
    assert core.closing


def test_before_login_less_is_taken() -> None:
    core = ServerSession("h", plaintext_login=True)
    core.next_event()
    core.answer(None)
    core.take_output()
    core.receive(b"a LOGIN {30000+}\r\n")
    assert core.next_event() is None
    assert core.take_output() == b"* BYE [TOOBIG] The literal is too large\r\n"
    assert core.closing


@pytest.mark.parametrize("known", [True, False])
def test_too_many_errors_end_the_session(known: bool) -> None:
    core = logged_in(Limits(errors=3))
    for _ in range(2):
        core.receive(b"a FROB\r\n")
        assert core.next_event() is None
    if known:
        # a command that works begins the count anew
        core.receive(b"b NOOP\r\n")
        core.next_event()
        core.answer(Result("OK", "done"))
    core.receive(b"a FROB\r\n")
    assert core.next_event() is None
    assert core.closing is not known
    assert core.take_output().endswith(b"* BYE Too many errors\r\n") is not known


def test_failed_logins_count_as_errors() -> None:
    core = ServerSession("h", plaintext_login=True, limits=Limits(errors=2))
    core.next_event()
    core.answer(None)
    for _ in range(2):
        assert not core.closing
        core.receive(b"a LOGIN bob guess\r\n")
        core.next_event()
        core.answer(Result("NO", "no", "AUTHENTICATIONFAILED"))
    assert core.closing


def test_thirty_minutes_are_allowed_after_login_and_three_before() -> None:
    assert ServerSession("h").timeout == 180.0
    assert logged_in().timeout == 1800.0


def test_silence_ends_with_bye() -> None:
    core = logged_in()
    core.time_out()
    assert core.take_output() == b"* BYE Idle for too long\r\n"
    assert core.closing


def test_shutting_down_waits_for_the_command_in_flight() -> None:
    core = logged_in()
    core.receive(b"a NOOP\r\nb NOOP\r\n")
    core.next_event()
    core.shut_down()
    assert not core.closing
    core.answer(Result("OK", "done"))
    assert core.closing
    assert core.take_output() == b"a OK done\r\n* BYE [UNAVAILABLE] Server is shutting down\r\n"
    assert core.next_event() is None


def test_shutting_down_does_not_wait_for_one_who_idles() -> None:
    core = logged_in()
    core.receive(b"a IDLE\r\n")
    core.next_event()
    core.answer(None)
    core.shut_down()
    assert core.take_output() == b"+ idling\r\n* BYE [UNAVAILABLE] Server is shutting down\r\n"
    assert core.closing


def test_bye_as_a_result_ends_the_session() -> None:
    core = logged_in()
    core.receive(b"a NOOP\r\n")
    core.next_event()
    core.answer(Result("BYE", "The mailbox has been deleted"))
    assert core.take_output() == b"* BYE The mailbox has been deleted\r\n"
    assert core.closing


def test_the_table_is_whole() -> None:
    assert len(verbs.BY_NAME) == len(verbs.VERBS)
    assert all(verb.rfc.startswith("RFC ") for verb in verbs.VERBS)
    assert len(set(verbs.CAPABILITIES)) == len(verbs.CAPABILITIES)


def test_beyond_ascii_a_quoted_string_is_utf8() -> None:
    # RFC 6855 §3, whatever charset a search says it is in
    core = logged_in()
    core.receive(b'a ID ("name" "\xfcber")\r\nb ID ("name" "\xc3\xbcber")\r\n')
    core.next_event()
    bad, *_, ok = core.take_output().split(b"\r\n")[:-1]
    assert bad.startswith(b"a BAD A quoted string is in UTF-8")
    assert ok == b"b OK ID completed"
