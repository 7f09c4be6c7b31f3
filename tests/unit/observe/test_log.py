"""Secrets never reach the log, and every event is one line that says when, where and what."""

from __future__ import annotations

import io
import itertools
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from posthouse.observe import log


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handlers, level = logging.root.handlers[:], logging.root.level
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def events(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_event_says_when_where_and_what(out: io.StringIO) -> None:
    log.configure("info", "json", out)

    log.get("queue").info("next hop is away", next_hop="example.org", attempts=3)

    (event,) = events(out)
    assert event.pop("timestamp")
    assert event == {
        "room": "queue",
        "level": "info",
        "event": "next hop is away",
        "next_hop": "example.org",
        "attempts": 3,
    }


def test_the_time_of_an_event_is_its_moment_in_utc(out: io.StringIO) -> None:
    log.configure("info", "json", out)

    before = datetime.now(UTC)
    log.get("x").info("now")
    after = datetime.now(UTC)

    said = str(events(out)[0]["timestamp"])
    assert said.endswith("Z")
    assert before - timedelta(microseconds=1) <= datetime.fromisoformat(said) <= after


def test_the_level_is_obeyed(out: io.StringIO) -> None:
    log.configure("warning", "json", out)

    log.get("x").info("small")
    log.get("x").warning("big")

    assert [event["event"] for event in events(out)] == ["big"]


def test_a_log_obtained_before_the_set_up_follows_it(out: io.StringIO) -> None:
    early = log.get("early")
    log.configure("info", "json", out)

    early.info("hello")

    assert events(out)[0]["room"] == "early"


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize(
    "fields",
    [
        {"password": "hunter2"},
        {"Relay_Passwd": "hunter2"},
        {"api_key": "hunter2"},
        {"session_token": b"hunter2"},
        {"settings": {"secret": "hunter2", "list": [{"credential": "hunter2"}]}},
        {"line": "AUTH PLAIN hunter2"},
        {"line": "Authorization: Bearer hunter2.hunter2-~+/=="},
        {"line": "token eyJhbGciOiJFUzI1NiJ9.hunter2.hunter2-hunter2 expired"},
        {"line": b"auth plain hunter2\r\n"},
        {"line": "a1 AUTHENTICATE PLAIN hunter2"},
        {"line": 'a1 LOGIN bob "hunter2"'},
        {"line": 'a1 login "bob \\" x" hunter2 hunter2'},
        {"line": "PASS hunter2 hunter2"},
        {"line": "pass hunter2"},
        {"url": "postgresql://bob:hunter2@db/mail"},
        {"lines": ("EHLO x", "AUTH LOGIN hunter2")},
    ],
)
def test_no_secret_passes(out: io.StringIO, format: str, fields: dict[str, object]) -> None:
    log.configure("info", format, out)

    log.get("smtp").info("said", **fields)

    assert "said" in out.getvalue()
    assert "hunter2" not in out.getvalue()
    assert log.REDACTED in out.getvalue()


def test_no_secret_passes_in_an_exception_or_from_a_library(out: io.StringIO) -> None:
    log.configure("info", "json", out)
    try:
        raise ValueError("AUTH PLAIN hunter2")
    except ValueError:
        log.get("x").exception("failed")
        logging.getLogger("library").exception("PASS %s", "hunter2")

    first, second = events(out)
    assert "ValueError" in str(first["exception"])
    assert second["room"] == "library"
    assert "hunter2" not in out.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "AUTH LOGIN",
        "250-AUTH PLAIN LOGIN",
        "login failed",
        "bearer tokens are not taken",
        "250-AUTH SCRAM-SHA-256-PLUS OAUTHBEARER",
        "the password was wrong",
        "PASS",
        "https://example.org/a:b@c",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert log.redact(text) == text


def test_the_quick_look_at_a_text_misses_no_secret() -> None:
    # given all that has the form of a secret, or nearly; \u017f is an s to who does not mind the case
    words = ("AUTH", "authenticate", "LOGIN", "login", "PASS", "pa\u017fs", "Bearer", "eyJ", "x://")
    blanks = ("", " ", "\t", ".", ":")
    arguments = ("bob", "PLAIN", "0123456789ab.x.y", "u:p@host")
    texts = map("".join, itertools.product(("", "a1 "), words, blanks, arguments, blanks, arguments))

    for text in texts:
        thorough = text
        for pattern, replacement in log._SECRETS_IN_TEXT:
            thorough = pattern.sub(replacement, thorough)
        assert log.redact(text) == thorough


def test_what_is_nested_without_end_is_cut(out: io.StringIO) -> None:
    log.configure("info", "json", out)
    endless: list[object] = []
    endless.append(endless)

    log.get("x").info("deep", value=endless)

    assert "…" in out.getvalue()
