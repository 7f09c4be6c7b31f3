"""Reads posthouse.toml: values checked, paths absolute, and every problem named with its line.

All problems of a file are reported together. An unknown key comes with the key that was probably
meant, also when it stands in another table or bears Postfix's prefix.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from posthouse.config.model import Config


class Problem(NamedTuple):
    """One thing wrong with the file. `line` counts from 1; 0: not known. `key` is dotted, or empty."""

    line: int
    key: str
    message: str


class ConfigError(Exception):
    """The file cannot be used. `problems` holds at least one; the text has a line for each."""

    def __init__(self, path: str, problems: tuple[Problem, ...]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(self._show(problem) for problem in problems))

    def _show(self, problem: Problem) -> str:
        place = f"{self.path}:{problem.line}" if problem.line else self.path
        return ": ".join(part for part in (place, problem.key, problem.message) if part)


def load(path: Path) -> Config:
    """The configuration in the file at `path`. Raises ConfigError, also when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(path), (Problem(0, "", f"cannot be read: {error.strerror}"),)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), (Problem(0, "", f"is not UTF-8: {error.reason}"),)) from error
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        at_end = text.count("\n") + 1
        problem = Problem(int(line[1]) if line else at_end, "", f"is not TOML: {error}")
        raise ConfigError(str(path), (problem,)) from error
    return from_mapping(raw, path.absolute().parent, source=str(path), text=text)


def from_mapping(
    raw: Mapping[str, Any], directory: Path, *, source: str = "posthouse.toml", text: str = ""
) -> Config:
    """The configuration that a parsed file means. Paths are relative to `directory`, as in `load`.

    `text` is the file, for the line numbers of problems, which are raised as ConfigError.
    """
    # Tables left out are validated too, because their defaults hold relative paths.
    whole = {name: {} for name, field in Config.model_fields.items() if _table(field)} | dict(raw)
    wanted = raw.get("data_directory", "data")
    data_directory = directory / Path(wanted if isinstance(wanted, str | Path) else "data").expanduser()
    try:
        return Config.model_validate(
            whole, context={"directory": directory, "data_directory": data_directory}
        )
    except ValidationError as error:
        lines = _key_lines(text)
        problems = sorted({_problem(details, lines) for details in error.errors(include_url=False)})
        raise ConfigError(source, tuple(problems)) from None


def _problem(details: ErrorDetails, lines: Mapping[tuple[str, ...], int]) -> Problem:
    location = details["loc"]
    key = ""
    for part in location:
        key += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    names = tuple(str(part) for part in location if not isinstance(part, int))
    line = next((lines[names[:n]] for n in range(len(names), 0, -1) if names[:n] in lines), 0)
    return Problem(line, key.lstrip("."), _message(details, names))


def _message(details: ErrorDetails, names: tuple[str, ...]) -> str:
    kind, given, context = details["type"], details["input"], details.get("ctx", {})
    shown = f"{given!r}" if not isinstance(given, bool) else str(given).lower()
    shown = shown if len(shown) <= 80 else shown[:77] + "…"
    match kind:
        case "extra_forbidden":
            return f"there is no such key{_suggestion(names)}"
        case "value_error":
            return f"{shown} {context['error']}" if _needs_value(context["error"]) else str(context["error"])
        case "literal_error" | "enum":
            allowed = str(context["expected"])
            near = difflib.get_close_matches(str(given), re.findall(r"'([^']*)'", allowed), 1)
            return f"{shown} is not one of {allowed}" + (f'; did you mean "{near[0]}"?' if near else "")
        case "bool_type":
            return f"{shown} must be true or false, without quotes"
        case "int_type":
            return f"{shown} must be a whole number, without quotes"
        case "string_type":
            return f"{shown} must be a text in quotes"
        case "tuple_type":
            return f'{shown} must be a list, such as ["…", "…"]'
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"{shown} must be a table"
        case "greater_than_equal":
            return f"{shown} must be at least {context['ge']}"
        case "less_than_equal":
            return f"{shown} must be at most {context['le']}"
    return f"{shown}: {details['msg']}"


def _needs_value(error: object) -> bool:
    return str(error).startswith(("must ", "is ", "has ", "needs "))


def _suggestion(names: tuple[str, ...]) -> str:
    *table, key = names
    known = [".".join(path) for path in keys()] + [
        name for name, field in Config.model_fields.items() if _table(field)
    ]
    here = ".".join((*table, ""))
    siblings = [name for name in known if name.startswith(here) and "." not in name.removeprefix(here)]
    if table[:2] == ["smtp", "relay_domains"]:
        siblings = [f"{here}next_hop", f"{here}recipients"]
    bare = key.removeprefix("smtpd_").removeprefix("smtp_")
    for wanted in (key, bare):
        if elsewhere := [name for name in known if name.rpartition(".")[2] == wanted]:
            return f"; did you mean {' or '.join(elsewhere)}?"
        if near := difflib.get_close_matches(here + wanted, siblings, 1, 0.75):
            return f'; did you mean "{near[0].removeprefix(here)}"?'
    near = difflib.get_close_matches(bare, [name.rpartition(".")[2] for name in known], 1, 0.8)
    if near:
        meant = next(name for name in known if name.rpartition(".")[2] == near[0])
        return f"; did you mean {meant}?"
    allowed = ", ".join(name.removeprefix(here) for name in siblings)
    return f"; allowed here: {allowed}" if allowed else ""


def keys() -> Iterator[tuple[str, ...]]:
    """The path of every key, in the order of the models: ("hostname",), ("smtp", "mynetworks") …"""
    for name, field in Config.model_fields.items():
        if table := _table(field):
            for key in table.model_fields:
                yield name, key
        else:
            yield (name,)


def _table(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a table of the file; None for a plain key."""
    kind: Any = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


_HEADER = re.compile(r"\s*\[\[?\s*([^\]\n]+?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"""\s*((?:"[^"\n]*"|'[^'\n]*'|[\w-]+)(?:\s*\.\s*(?:"[^"\n]*"|'[^'\n]*'|[\w-]+))*)\s*=""")
_PART = re.compile(r"""\s*(?:"([^"\n]*)"|'([^'\n]*)'|([\w-]+))\s*\.?""")


def _key_lines(text: str) -> dict[tuple[str, ...], int]:
    """On which line each table and key of a valid TOML text stands. Inline tables count as one key."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.fullmatch(line):
            table = _parts(header[1])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            path = table + _parts(key[1])
            for length in range(1, len(path) + 1):
                lines.setdefault(path[:length], number)
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(next(group for group in found if group) for found in _PART.findall(dotted) if any(found))
