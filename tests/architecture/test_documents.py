"""What the documents tell people to type is there: commands, their options, keys, and pages linked to."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from cyclopts import CycloptsError
from pydantic import BaseModel

from posthouse.cli.main import program
from posthouse.config import Config
from tests.architecture.source import SOURCE

ROOT = SOURCE.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)

# In a block of code, or in backticks.
COMMAND = re.compile(
    r"^(?:    |\t)(?:sudo )?posthouse ((?:[^\n]|(?<=\\)\n)+)|`posthouse ([^`]+)`", re.MULTILINE
)
KEY = re.compile(r"`([a-z_]+(?:\.[a-z_]+)+)(?: = [^`]*)?`")
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")

TABLES: dict[str, set[str]] = {
    name: set(field.annotation.model_fields)
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}


def commands(text: str) -> list[list[str]]:
    """The arguments of each `posthouse …`, without what the shell does with its output."""
    found = []
    for block, inline in COMMAND.findall(text):
        line = (block or inline).replace("\\\n", " ")
        line = re.split(r" (?:&&|\||>|<|<<<) |  +\S|\s#", line)[0]
        found.append(shlex.split(line))
    return found


@each_page
def test_every_command_in_the_documents_can_be_typed(page: Path) -> None:
    app = program()
    wrong = []
    for words in commands(page.read_text("utf-8")):
        # `…` and capitals stand for what the reader puts there; a noun alone is spoken of, not typed
        if "…" in "".join(words) or words[0] == "sendmail" or "/" in words:
            continue
        try:
            app.parse_args(words, print_error=False, exit_on_error=False)
        except CycloptsError as error:
            if len(words) > 2 or "Missing" not in type(error).__name__:
                wrong.append((words, str(error)))
    assert wrong == []


def test_commands_are_found() -> None:
    text = "    posthouse queue list --older-than 1h --json  and\n`posthouse check` or `posthouse x\ny`"
    assert commands(text) == [["queue", "list", "--older-than", "1h", "--json"], ["check"], ["x", "y"]]


@each_page
def test_every_key_in_the_documents_exists(page: Path) -> None:
    named = set(KEY.findall(page.read_text("utf-8")))
    assert {key for key in named if key.partition(".")[0] in TABLES and not known(key)} == set()


def test_keys_that_do_not_exist_are_not_known() -> None:
    assert [known(key) for key in ("smtp.mynetworks", "smtp.nonsense")] == [True, False]


def known(key: str) -> bool:
    table, _, rest = key.partition(".")
    return rest.partition(".")[0] in TABLES[table]


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for path, anchor in LINK.findall(page.read_text("utf-8")):
        if ":" in path:
            continue
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor[1:] not in anchors(target)):
            broken.append(path + anchor)
    assert broken == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
