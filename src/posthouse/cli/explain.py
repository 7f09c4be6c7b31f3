"""`posthouse explain`: what a reply or an enhanced status code means, and what to do about it."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import App, Parameter

from posthouse.cli.context import JsonOption
from posthouse.cli.listing import print_record
from posthouse.cli.problem import CommandProblem
from posthouse.mail import codes

app = App(name="explain")


@app.default
def explain(
    *reply: Annotated[str, Parameter(help='"550 5.7.1 Relaying denied", 5.7.1, 421, or only the text.')],
    json: JsonOption = False,
) -> int:
    """Explain a reply of a mail server in plain words."""
    text = " ".join(reply).strip()
    if not text:
        raise CommandProblem(
            "which reply?", hint='For example: posthouse explain "550 5.7.1 …"', code=os.EX_USAGE
        )
    explained = codes.explain(text)
    known = {
        "by code": explained.by_code,
        "by enhanced code": explained.by_enhanced,
        "by text": explained.by_text,
    }
    if json:
        print_record(
            {
                "code": explained.code or None,
                "enhanced": explained.enhanced or None,
                "text": explained.text,
                "says": explained.says,
                "advice": explained.advice,
                **{
                    key.replace(" ", "_"): meaning.says if meaning else None for key, meaning in known.items()
                },
            },
            json=True,
        )
        return os.EX_OK
    if not any(known.values()):
        raise CommandProblem(f"nothing is known of {text!r}", hint="Replies begin with 2, 3, 4 or 5.")
    print(explained.says)
    if explained.advice:
        print(explained.advice)
    print()
    if explained.code and explained.by_code:
        print(f"{explained.code}: {explained.by_code.says}")
        print(f"{explained.code // 100}xx: {codes.CLASSES[str(explained.code // 100)].says}")
    if explained.enhanced and explained.by_enhanced:
        print(f"{explained.enhanced}: {explained.by_enhanced.says}")
    return os.EX_OK
