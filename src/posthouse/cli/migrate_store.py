"""`posthouse migrate-store`: move the mail to another database and object store."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from posthouse.admin import migrate_store as admin
from posthouse.admin.migrate_store import Plan, Store
from posthouse.cli.context import ConfigOption, JsonOption, open_context
from posthouse.cli.listing import print_record
from posthouse.cli.problem import CommandProblem
from posthouse.cli.progress import ProgressDisplay
from posthouse.config.units import parse_duration
from posthouse.db.transfer import Mismatch, Report, SourceMoved, StillBusy, TransferProblem

app = App(name="migrate-store")

FromOption = Annotated[
    str, Parameter(name="--from", help="The database the mail is in; the configured one unless given.")
]
ToOption = Annotated[
    str, Parameter(name="--to", help="The database it moves to; default: the configured one.")
]
Flag = Parameter(negative="")


@app.default
def migrate_store(
    *,
    source: FromOption = "",
    target: ToOption = "",
    from_blobs: str = "",
    to_blobs: str = "",
    copy_only: Annotated[bool, Flag] = False,
    give_up: Annotated[bool, Flag] = False,
    replace: Annotated[bool, Flag] = False,
    wait: str = "60s",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Move the mail: copy and verify it while servers serve, then close the source and bring the rest.

    Afterwards put the new database.url and database.blobs into posthouse.toml and restart the servers. An
    interrupted move goes on when the same command is given again.

    Parameters
    ----------
    from_blobs
        Large bodies of the source: file:DIRECTORY or s3://BUCKET; default: the configured ones.
    to_blobs
        Where they move to; default: the configured ones. If both are the same they stay where they are.
    copy_only
        Copy, verify, and bring up to date, but do not switch. Give the command again to switch.
    give_up
        Forget a move that was begun, and open the source again; with the same --from and --to.
    replace
        The target holds mail that has moved away from it; overwrite that.
    wait
        How long to wait, before the switch, for letters that are being passed on at this moment.
    """
    loaded = open_context(config)
    own = Store(loaded.database.url, loaded.database.blobs)
    try:
        patience = parse_duration(wait)
    except ValueError as error:
        raise CommandProblem(str(error), code=os.EX_USAGE) from None
    if give_up:
        _give_up(source or own.url, target or (own.url if source else ""), loaded.data_directory)
        return
    try:
        plan = admin.plan(own, loaded.data_directory, source, target, from_blobs, to_blobs)
    except TransferProblem as error:
        raise CommandProblem(str(error), code=os.EX_USAGE) from None
    with ProgressDisplay("rows", quiet=json) as progress:
        work = admin.move(plan, progress, switch=not copy_only, patience=patience, replace=replace)
        try:
            report = asyncio.run(work)
        except Mismatch as error:
            raise CommandProblem(
                f"{error}; nothing was switched", hint="The source takes mail as before."
            ) from None
        except StillBusy as error:
            raise CommandProblem(
                str(error),
                hint="The source takes mail as before; try again, or --wait longer.",
                code=os.EX_TEMPFAIL,
            ) from None
        except SourceMoved as error:
            raise CommandProblem(
                str(error), hint="Set [database] to where it is; to move it again, name that with --from."
            ) from None
        except TransferProblem as error:
            raise CommandProblem(str(error), hint="See --give-up and --replace.") from None
    tell_report(plan, report, json=json)


def _give_up(source: str, target: str, directory: Path) -> None:
    try:
        begun = admin.give_up_move(source, target if target != source else "", directory)
    except TransferProblem as error:
        raise CommandProblem(str(error)) from None
    if not begun:
        raise CommandProblem(f"no move of {admin.without_password(source)} was begun")
    print("Given up; the source takes mail as before.")


def tell_report(plan: Plan, report: Report | None, *, json: bool) -> None:
    """Print what has been done and what is to be done now; `report`: None before the switch."""
    record: dict[str, Any] = {
        "from": plan.source.shown(),
        "to": plan.target.shown(),
        "from_blobs": plan.source.blobs,
        "to_blobs": plan.target.blobs,
        "switched": report is not None,
    }
    if report is not None:
        record |= {
            "messages": report.rows["placement"],
            "rows": report.rows if json else sum(report.rows.values()),
            "rows_copied": report.copied,
            "rows_changed_meanwhile": report.changed,
            "objects_moved": report.objects,
            "octets_of_objects": report.octets,
            "seconds": round(report.seconds, 3),
            "seconds_closed": round(report.closed, 3),
        }
    print_record(record, json=json)
    if json:
        return
    if report is None:
        print("\nThe copy is complete and the source goes on. Give the command again to switch.")
        return
    print(
        "\nEvery row is the same on both sides. The source is closed."
        " Put this into posthouse.toml and restart the servers:\n\n"
        f'    [database]\n    url = "{plan.target.shown()}"\n    blobs = "{plan.target.blobs}"'
    )
    if plan.target.shown() != plan.target.url:
        print("\nThe URL is shown without its password: write that too, or name a passfile.")
