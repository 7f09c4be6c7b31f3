"""`posthouse serve`: the mail system in the foreground."""

from __future__ import annotations

import os

from cyclopts import App

from posthouse.cli.context import ConfigOption, data_owner, find_config, require_readable_program
from posthouse.cli.problem import explain
from posthouse.config import load
from posthouse.net.privileges import acting_as

app = App(name="serve")


@app.default
def serve(*, config: ConfigOption = None) -> int:
    """Run the mail system in the foreground, until SIGTERM or SIGINT; SIGHUP reads the configuration again.

    As root it binds its ports first, and then becomes the owner of the data.
    """
    from posthouse.app import serve as run

    path = find_config(config)
    loaded = load(path)
    owner = data_owner(loaded)
    if os.geteuid() == 0:
        with acting_as(owner.uid, owner.gid):  # later nothing of the program could be read, to say so
            require_readable_program()
    return run(loaded, path, explain)
