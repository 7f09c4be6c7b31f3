"""The log: events with fields, on standard error, for people or as one JSON object a line.

    log = log.get("queue")
    log.warning("next hop is away", next_hop="example.org", reply="421 4.3.2 …")

No secret passes: fields named like one, credentials in the commands of SMTP, IMAP and POP3 and in URLs, and
tokens are replaced before anything is written. What cannot be recognised by its form, the bare base64 line
that answers a SASL challenge (RFC 4954 §4), must not be handed to the log at all.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

REDACTED: Final = "[redacted]"
_SECRET_FIELD = re.compile(
    r"passw|passphrase|secret|token|credential|authorization|cookie|private_?key|api_?key", re.I
)
_SECRETS_IN_TEXT = (
    # RFC 4954 §4, RFC 9051 §6.2.2, RFC 5034 §4: an initial response; not the mechanisms in EHLO's reply
    (
        re.compile(r"(?<!250[- ])\b(AUTH(?:ENTICATE)?[ \t]+[A-Z0-9_-]{1,20}[ \t]+)[^\s\[]\S*", re.I),
        rf"\1{REDACTED}",
    ),
    # RFC 9051 §6.2.3; also in lower case where the text begins like a command
    (re.compile(r"\b(LOGIN[ \t]+(?:\"(?:[^\"\\]|\\.)*\"|\S+)[ \t]+)[^\s\[].*"), rf"\1{REDACTED}"),
    (
        re.compile(r"\A(\S{1,32}[ \t]+LOGIN[ \t]+(?:\"(?:[^\"\\]|\\.)*\"|\S+)[ \t]+)[^\s\[].*", re.I),
        rf"\1{REDACTED}",
    ),
    # RFC 1939 §7
    (re.compile(r"\b(PASS[ \t]+)[^\s\[].*"), rf"\1{REDACTED}"),
    (re.compile(r"\A(PASS[ \t]+)[^\s\[].*", re.I), rf"\1{REDACTED}"),
    (re.compile(r"(\w://[^/\s:@]*:)[^/\s@]+@"), rf"\1{REDACTED}@"),
    # RFC 6750 §2.1, and tokens by themselves (RFC 7519 §3: the header is JSON)
    (re.compile(r"\b(Bearer[ \t]+)[A-Za-z0-9._~+/-]{12,}=*", re.I), rf"\1{REDACTED}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]*\.[\w-]*"), REDACTED),
)
_PERHAPS_SECRET = re.compile(r"(?:auth(?:enticate)?|login|pass|bearer)[ \t]|://|eyj", re.I)
"""What each of those has in it: most texts have nothing of it, and one search tells."""
_DEEPEST = 6


def get(name: str) -> FilteringBoundLogger:
    """The log of a room; `name` stands in each of its lines as `room`. Cheap; safe to call at import."""
    return cast(FilteringBoundLogger, structlog.get_logger(room=name))


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    format: Literal["auto", "console", "json"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Set up the log of this process, also for libraries that use `logging`. May be called again."""
    out = sys.stderr if stream is None else stream
    as_json = format == "json" or (format == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact_event,
        structlog.processors.add_log_level,
        _stamp,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(_in_json)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    logging.captureWarnings(True)


@lru_cache(maxsize=1)
def _at_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _stamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Says when, in UTC; a second is written out once, whatever happens in it."""
    now = time.time()
    second = int(now)
    event["timestamp"] = f"{_at_second(second)}.{int((now - second) * 1e6):06d}Z"
    return event


_encode = json.JSONEncoder(ensure_ascii=False).encode


def _in_json(event: EventDict, **_options: object) -> str:
    """Of what `redact_event` has left, which JSON has words for; the encoder is made once."""
    return _encode(event)


def redact(text: str) -> str:
    """`text` without secrets: SASL responses, arguments of LOGIN and PASS, user:password@ in URLs, tokens."""
    if _PERHAPS_SECRET.search(text) is not None:
        for pattern, replacement in _SECRETS_IN_TEXT:
            text = pattern.sub(replacement, text)
    return text


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: `event` without secrets, at any depth."""
    for key, value in event.items():
        # of plain text, which most fields are, this is all that has to be asked
        if type(value) is not str or _names_a_secret(key) or _PERHAPS_SECRET.search(value) is not None:
            event[key] = _redacted(key, value, 0)
    return event


@lru_cache(maxsize=1000)
def _names_a_secret(key: str) -> bool:
    return _SECRET_FIELD.search(key) is not None


def _redacted(key: object, value: Any, depth: int) -> Any:
    if isinstance(key, str) and _names_a_secret(key) and value not in (None, "", b""):
        return REDACTED
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, int | float):
        return value
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {inner: _redacted(inner, item, depth + 1) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(None, item, depth + 1) for item in value]
    return redact(str(value))


def _logger_name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    if record is not None:
        event["room"] = record.name
    return event
