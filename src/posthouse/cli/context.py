"""What every command but `init` begins with: find the configuration, and become the owner of the data.

The file is the one of --config, else of $POSTHOUSE_CONFIG, else ./posthouse.toml, else
/etc/posthouse/posthouse.toml.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

from cyclopts import Parameter

import posthouse
from posthouse.cli.problem import CommandProblem
from posthouse.config import Config, load
from posthouse.net.privileges import NoSuchUser, Owner, become, owner_of

if TYPE_CHECKING:
    from posthouse.db import Database

T = TypeVar("T")

VARIABLE = "POSTHOUSE_CONFIG"
PLACES = (Path("posthouse.toml"), Path("/etc/posthouse/posthouse.toml"))

ConfigOption: TypeAlias = Annotated[
    Path | None, Parameter(name="--config", env_var=VARIABLE, help="The posthouse.toml of this installation.")
]
JsonOption: TypeAlias = Annotated[
    bool, Parameter(name="--json", negative="", help="Print JSON instead of a table.")
]


def find_config(given: Path | None) -> Path:
    """The path of the configuration; CommandProblem if there is none."""
    if given is not None:
        return given
    if from_environment := os.environ.get(VARIABLE):
        return Path(from_environment)
    for place in PLACES:
        if place.exists():
            return place
    raise CommandProblem(
        "there is no posthouse.toml here",
        hint=f"Name it with --config or ${VARIABLE}; `posthouse init DIR …` makes a new one.",
        code=os.EX_CONFIG,
    )


def open_context(given: Path | None) -> Config:
    """The configuration, with this process turned into one that may touch the data.

    As root it becomes `user`, by default the owner of data_directory. New files are for the owner only.
    """
    config = load(find_config(given))
    become_owner(config)
    return config


def become_owner(config: Config) -> None:
    """Give up root for the owner of the data, for good; other users stay who they are."""
    become(data_owner(config))
    require_readable_program()


def data_owner(config: Config) -> Owner:
    """Who we are to be. CommandProblem where there is no such user, or no data."""
    try:
        return owner_of(config.data_directory, config.user)
    except NoSuchUser as error:
        raise CommandProblem(
            str(error),
            hint="Correct `user` in posthouse.toml, or leave it out for the owner of data_directory.",
            code=os.EX_NOUSER,
        ) from None
    except FileNotFoundError:
        raise CommandProblem(
            f"data_directory {config.data_directory} does not exist",
            hint="`posthouse init` makes it; or correct data_directory in posthouse.toml.",
            code=os.EX_CONFIG,
        ) from None


def require_readable_program() -> None:
    """CommandProblem where the user that we are now cannot read the program itself.

    That happens to programs installed below /root, and shows only when the next module is imported.
    """
    for file in (os.__file__, posthouse.__file__):
        if not os.access(file, os.R_OK, effective_ids=True):
            raise CommandProblem(
                f"uid {os.geteuid()}, whose data this is, cannot read the program at {file}",
                hint="Install Posthouse and its Python where every user can read them, such as /opt.",
                code=os.EX_NOPERM,
            )


def with_database(given: Path | None, work: Callable[[Config, Database], Awaitable[T]]) -> T:
    """Run `work` with the configuration and an open database, and return what it returns.

    The database is migrated first where that is needed, and closed afterwards.
    """
    from posthouse.db import open_database

    config = open_context(given)

    async def run() -> T:
        database = open_database(config.database.url, config.data_directory)
        try:
            return await work(config, database)
        finally:
            await database.close()

    return asyncio.run(run())
