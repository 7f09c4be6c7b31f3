"""`posthouse check`: what is wrong with this installation, and how to fix it."""

from __future__ import annotations

import asyncio
import os
import sys

from cyclopts import App

from posthouse.accounts import domain
from posthouse.admin.health import (
    Finding,
    examine_blobs,
    examine_connections,
    examine_dns,
    examine_index,
    examine_machine,
    examine_owner,
)
from posthouse.admin.logins import examine_logins
from posthouse.admin.search import Index
from posthouse.cli.context import ConfigOption, JsonOption, become_owner, find_config
from posthouse.cli.listing import print_listing
from posthouse.cli.problem import CommandProblem
from posthouse.config import Config, ConfigError, load
from posthouse.db import Database, DatabaseError, open_database
from posthouse.db.blobs import open_blobs
from posthouse.db.errors import StoreElsewhere
from posthouse.db.open import capacity
from posthouse.machine import MachineClock
from posthouse.net.dns import StubResolver
from posthouse.store.fulltext import open_fulltext

app = App(name="check")

_SIGNS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}

_BLOBS_SECONDS = 10.0


@app.default
def check(*, config: ConfigOption = None, json: JsonOption = False) -> int:
    """Say what is wrong with configuration, machine, certificate, database, object store and DNS.

    The exit code is 0, or 78 (EX_CONFIG) where there is a problem; warnings do not count.
    """
    path = find_config(config)
    try:
        loaded = load(path)
    except ConfigError as error:
        findings = [
            Finding("problem", "config", str(ConfigError(error.path, (problem,))), "correct this line")
            for problem in error.problems
        ]
    else:
        findings = [Finding("ok", "config", str(path)), *_examine(loaded)]
    _print(findings, json=json)
    return os.EX_CONFIG if any(finding.level == "problem" for finding in findings) else os.EX_OK


def _examine(config: Config) -> list[Finding]:
    # Ports and the certificate as the user who starts the server, the data as its owner.
    findings = [*examine_machine(config, MachineClock()), *examine_logins(config, MachineClock())]
    try:
        become_owner(config)
        findings.append(examine_owner(config))
        findings += asyncio.run(_examine_data_and_dns(config))
    except CommandProblem as error:
        findings.append(Finding("problem", "user", str(error), error.hint))
    return findings


async def _examine_data_and_dns(config: Config) -> list[Finding]:
    findings: list[Finding] = []
    domains: list[str] = []
    try:
        database = open_database(config.database.url, config.data_directory)
        try:
            domains = [entry.name for entry in await database.read(domain.everything)]
            room = await capacity(database)
            search = [await _index(config, database)] if config.search.enabled else []
        finally:
            await database.close()
    except (DatabaseError, OSError) as error:
        remedy = "correct database.url, or restore a backup"
        if isinstance(error, StoreElsewhere):
            remedy = "set [database] to where the mail is, or bring `posthouse migrate-store` to its end"
        findings.append(Finding("problem", "database", str(error), remedy))
    else:
        findings.append(Finding("ok", "database", "open, its tables up to date"))
        if room is not None:
            findings.append(examine_connections(config, room))
        findings += search
    if "://" in config.database.blobs:
        blobs = open_blobs(config.database.blobs, config.data_directory, _BLOBS_SECONDS)
        findings.append(await examine_blobs(config.database.blobs, blobs))
        await blobs.close()
    nameservers = [(endpoint.host, endpoint.port) for endpoint in config.dns.nameservers]
    resolver = StubResolver(nameservers, MachineClock(), trust_ad=config.dns.trust_ad)
    try:
        findings += await examine_dns(config, domains, resolver)
    finally:
        resolver.close()
    return findings


async def _index(config: Config, database: Database) -> Finding:
    fulltext = open_fulltext(config.database.url, config.data_directory)
    try:
        return await examine_index(Index(database, fulltext, config.data_directory / "run"))
    finally:
        await fulltext.close()


def _print(findings: list[Finding], *, json: bool) -> None:
    if json:
        print_listing([finding._asdict() for finding in findings], json=True)
        return
    for finding in findings:
        print(f"{_SIGNS[finding.level]}  {finding.subject}: {finding.message}")
        if finding.remedy:
            print(f"         → {finding.remedy}")
    problems = sum(finding.level == "problem" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    sys.stdout.write(f"\nProblems: {problems}, warnings: {warnings}.\n")
