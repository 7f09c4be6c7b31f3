"""`posthouse serve`: the mail system in the foreground."""

from __future__ import annotations

from cyclopts import App

from posthouse.cli.context import ConfigOption, find_config
from posthouse.config import load

app = App(name="serve")


@app.default
def serve(*, config: ConfigOption = None) -> int:
    """Run the mail system in the foreground, until SIGTERM or SIGINT; SIGHUP reads the configuration again.

    As root it binds its ports first, and then becomes the owner of the data.
    """
    from posthouse.app import serve as run

    return run(load(find_config(config)), find_config(config))
