"""`posthouse demo`: the pocket internet with two servers, and a letter between them."""

from __future__ import annotations

import asyncio
import os
import smtplib
from typing import Annotated

from cyclopts import App, Parameter

from posthouse.cli.problem import CommandProblem

app = App(name="demo")


@app.default
def demo(*, once: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Send a letter from alice@north.test to bob@south.test, print its journey, and stay up.

    Parameters
    ----------
    once
        End after the letter was read.
    """
    from posthouse.pocket.demo import demo as run
    from posthouse.pocket.mailreader import ImapRefused

    try:
        asyncio.run(run(once=once, say=_say))
    except TimeoutError:
        raise CommandProblem("the letter did not arrive in time", code=os.EX_TEMPFAIL) from None
    except (OSError, RuntimeError, smtplib.SMTPException, ImapRefused) as error:
        raise CommandProblem(f"the demo failed: {error}", code=os.EX_SOFTWARE) from None
    return os.EX_OK


def _say(line: str) -> None:
    print(line, flush=True)
