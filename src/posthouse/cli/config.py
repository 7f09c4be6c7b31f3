"""`posthouse config`: show what is in force, and what could be."""

from __future__ import annotations

import sys

from cyclopts import App

from posthouse.cli.context import ConfigOption, find_config
from posthouse.config import load
from posthouse.config.reference import in_force, markdown, schema

app = App(name="config", help="Print the configuration, its reference, or its JSON schema.")


@app.command
def show(*, config: ConfigOption = None) -> None:
    """Print every key with the value in force, as TOML."""
    sys.stdout.write(in_force(load(find_config(config))))


@app.command(name="schema")
def print_schema() -> None:
    """Print a JSON schema of posthouse.toml, for editors."""
    print(schema())


@app.command
def reference() -> None:
    """Print the page of all keys with their defaults and meanings."""
    sys.stdout.write(markdown())
