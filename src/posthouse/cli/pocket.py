"""`posthouse pocket`: a pocket internet of one's own, to try clients, servers and configurations on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from posthouse.cli.problem import CommandProblem

app = App(name="pocket")


@app.default
def pocket(
    *domains: str,
    user: Annotated[list[str] | None, Parameter(negative="")] = None,
    directory: Path | None = None,
) -> int:
    """Start a Posthouse for each of DOMAINS on loopback, with DNS and TLS between them, until Ctrl-C.

    Parameters
    ----------
    user
        Local part of an account that every domain gets; may be repeated. Their passwords are printed.
    directory
        Keep everything in this new directory; otherwise it goes when the command ends.
    """
    from posthouse.mail.address import AddressError, parse_address
    from posthouse.pocket.demo import stay

    try:
        names = [parse_address(f"user@{domain}").domain for domain in domains or ("north.test", "south.test")]
    except AddressError as error:
        raise CommandProblem(f"not a domain: {error}", code=os.EX_USAGE) from None
    if len(set(names)) < len(names):
        raise CommandProblem("each domain can have one server only", code=os.EX_USAGE)
    if directory is not None and directory.exists():
        raise CommandProblem(f"{directory} exists already", code=os.EX_CANTCREAT)
    try:
        asyncio.run(stay(names, user or ["user"], directory and directory.absolute(), say=_say))
    except (OSError, RuntimeError) as error:
        raise CommandProblem(f"the pocket internet failed: {error}", code=os.EX_SOFTWARE) from None
    return os.EX_OK


def _say(line: str) -> None:
    print(line, flush=True)
