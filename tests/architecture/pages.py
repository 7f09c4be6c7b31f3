"""Writes the pages that are made from the program: docs/metrics.md, and the module lists of docs/rfcs.toml.

make docs
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from typing import Any

from tests.architecture.source import TOP, modules

METRICS = TOP / "docs" / "metrics.md"
RFCS = TOP / "docs" / "rfcs.toml"
STATUS = ("complete", "partial", "reference")
_CITED = re.compile(r"\bRFCs?[ \n](\d{3,5})((?:(?:,| and| or| to|–|/)[ \n]?(?:RFC )?\d{4,5}\b)*)")

_HEAD = """\
# The RFCs that Posthouse follows, and the modules that cite them. status:
#   complete    everything that applies to us
#   partial     what is listed in `missing` is not there yet
#   reference   a format or registry that we use in passing
# `make docs` keeps the module lists; a new RFC needs a title and a status by hand.
"""

_WALK = """
import importlib, pkgutil, sys
import posthouse
from posthouse.observe import metrics
for module in pkgutil.walk_packages(posthouse.__path__, "posthouse."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
sys.stdout.write(metrics.markdown())
"""


def metrics_page() -> str:
    """Made in a process of its own, where no test has added metrics."""
    return subprocess.run([sys.executable, "-c", _WALK], capture_output=True, text=True, check=True).stdout


def citations() -> dict[int, list[str]]:
    """RFC number → the modules that name it, sorted."""
    found: dict[int, set[str]] = defaultdict(set)
    for module in modules():
        for first, more in _CITED.findall(module.text):
            for number in (first, *re.findall(r"\d{4,5}", more)):
                found[int(number)].add(module.name)
    return {number: sorted(names) for number, names in sorted(found.items())}


def listed() -> dict[int, dict[str, Any]]:
    if not RFCS.exists():
        return {}
    return {
        entry["number"]: entry for entry in tomllib.loads(RFCS.read_text(encoding="utf-8")).get("rfc", [])
    }


def rfcs_page() -> str:
    known, parts = listed(), [_HEAD]
    for number, names in citations().items():
        entry = known.get(number, {})
        parts.append(f"\n[[rfc]]\nnumber = {number}\n")
        parts.append(f"title = {json.dumps(entry.get('title', ''), ensure_ascii=False)}\n")
        parts.append(f'status = "{entry.get("status", "")}"\n')
        if "missing" in entry:
            parts.append(f"missing = {json.dumps(entry['missing'], ensure_ascii=False)}\n")
        lines = "".join(f'  "{name}",\n' for name in names)
        parts.append(f"modules = [\n{lines}]\n")
    return "".join(parts)


if __name__ == "__main__":
    METRICS.write_text(metrics_page(), encoding="utf-8")
    RFCS.write_text(rfcs_page(), encoding="utf-8")
