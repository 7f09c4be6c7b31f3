"""`posthouse journey`: what happened to a letter, hop by hop."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import App, Parameter

from posthouse.cli.context import ConfigOption, JsonOption, with_database
from posthouse.cli.listing import print_listing, print_record
from posthouse.cli.problem import CommandProblem
from posthouse.config import Config
from posthouse.db import Database, Reader
from posthouse.journey import catalogue, explain, record
from posthouse.mail.ids import moment

app = App(name="journey")


@app.default
def journey(
    what: Annotated[
        str, Parameter(help="An id, an id with a recipient's number (ID/2), an address or a Message-ID.")
    ],
    /,
    *,
    limit: Annotated[int, Parameter(help="Journeys to list at most.")] = 20,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Tell what happened to a letter; list the letters where an address names several.

    The IP address of a client shows what was refused it.
    """
    if limit < 1:
        raise CommandProblem("--limit must be at least 1", code=os.EX_USAGE)
    number = _number(what)

    def look(reader: Reader) -> list[record.Journey]:
        loaded = (record.load(reader, id) for id in catalogue.find(reader, what, limit))
        return [journey for journey in loaded if journey is not None]

    async def work(_: Config, database: Database) -> list[record.Journey]:
        return await database.read(look)

    found = with_database(config, work)
    if not found:
        raise CommandProblem(
            f"nothing is known of {what}",
            hint="Journeys are kept as long as journey.retention says; is the id or the address complete?",
            code=os.EX_DATAERR,
        )
    if len(found) > 1:
        _list(found, json=json)
    elif json:
        print_record(explain.plain(found[0]), json=True)
    else:
        for line in explain.lines(explain.tell(found[0], number)):
            print(line)
    return os.EX_OK


def _number(what: str) -> int:
    """The recipient's number in `ID/2`; 0 without."""
    number = what.rpartition("/")[2]
    return int(number) if "/" in what and number.isdecimal() and "@" not in what and len(number) < 6 else 0


def _list(found: list[record.Journey], *, json: bool) -> None:
    if json:
        print_listing([explain.plain(journey) for journey in found], json=True)
        return
    stories = [(journey, explain.tell(journey)) for journey in found]
    print_listing(
        [
            {
                "id": story.id,
                "time": explain.moment_text(moment(journey.id)),
                "what became of it": story.first,
            }
            for journey, story in stories
        ],
        json=False,
    )
