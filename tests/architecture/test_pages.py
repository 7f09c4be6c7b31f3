"""The documents say what the program does."""

from __future__ import annotations

import ast

from posthouse.config.load import keys
from posthouse.config.reference import markdown
from tests.architecture import pages
from tests.architecture.source import TOP, modules


def test_every_key_is_documented() -> None:
    page = (TOP / "docs" / "configuration.md").read_text(encoding="utf-8")

    assert [".".join(key) for key in keys() if f"| `{'.'.join(key)}` |" not in page] == []
    assert page == markdown(), "run `make docs`"


def test_every_key_is_read_by_some_room() -> None:
    """But for the listeners, which are taken as a whole."""
    read = {
        node.attr
        for module in modules()
        if module.room not in ("config", "cli") and module.name != "admin/health.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
    }

    assert [".".join(key) for key in keys() if key[0] != "listen" and key[-1] not in read] == []


def test_every_metric_is_documented() -> None:
    assert pages.METRICS.read_text(encoding="utf-8") == pages.metrics_page(), "run `make docs`"


def test_every_cited_rfc_is_listed_with_its_modules() -> None:
    cited = pages.citations()
    listed = {number: sorted(entry["modules"]) for number, entry in pages.listed().items()}

    assert {
        n: sorted(set(cited[n]) ^ set(listed.get(n, []))) for n in cited if cited[n] != listed.get(n)
    } == {}
    assert sorted(set(listed) - set(cited)) == [], "listed, but cited nowhere"


def test_every_listed_rfc_has_a_title_and_a_status() -> None:
    lacking = [
        number
        for number, entry in pages.listed().items()
        if not entry["title"]
        or entry["status"] not in pages.STATUS
        or (entry["status"] == "partial") != bool(entry.get("missing"))
    ]

    assert lacking == []
