"""`posthouse check` finds what is wrong, and says how to mend it."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from posthouse.admin.health import (
    Finding,
    examine_blobs,
    examine_connections,
    examine_dns,
    examine_machine,
)
from posthouse.config import Config, from_mapping
from posthouse.db import DatabaseAway
from posthouse.db.limits import Capacity
from posthouse.ports import Found, LookupFailed, Mx, NotFound

NOW = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC).timestamp()


class FixedClock:
    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now


class Names:
    """A resolver that knows what a test tells it; everything else does not exist."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    async def _answer(self, kind: str) -> Any:
        return self._answers.get(kind, NotFound(no_such_name=True))

    async def mx(self, name: str) -> Any:
        return await self._answer("mx")

    async def addresses(self, name: str) -> Any:
        return await self._answer("addresses")

    async def txt(self, name: str) -> Any:
        return await self._answer("txt")

    async def ptr(self, address: str) -> Any:
        return await self._answer("ptr")


@pytest.fixture
def make(tmp_path: Path):
    """A configuration with no listeners but those given, whose data_directory exists."""

    def config(**tables: Any) -> Config:
        off = dict.fromkeys(type(Config().listen).model_fields, ())
        raw = {"hostname": "mail.example.org"} | tables
        raw["listen"] = {name: list(value) for name, value in (off | tables.get("listen", {})).items()}
        made = from_mapping(raw, tmp_path)
        made.data_directory.mkdir(mode=0o700, exist_ok=True)
        return made

    return config


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of another program."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def found(config: Config, subject: str, now: float = NOW) -> list[Finding]:
    return [finding for finding in examine_machine(config, FixedClock(now)) if finding.subject == subject]


def levels(findings: list[Finding]) -> list[str]:
    assert all(finding.remedy for finding in findings if finding.level != "ok")
    return [finding.level for finding in findings]


def test_a_name_without_a_domain_is_a_problem(make) -> None:
    assert levels(found(make(), "hostname")) == ["ok"]
    assert levels(found(make(hostname="localhost"), "hostname")) == ["problem"]


def test_data_that_others_can_read_is_a_problem(make) -> None:
    config = make(user="nobody")
    assert levels(found(config, "data_directory")) == ["ok"]

    config.data_directory.chmod(0o755)
    assert levels(found(config, "data_directory")) == ["problem"]

    config.data_directory.rmdir()
    assert levels(found(config, "data_directory")) == ["problem"]


def test_a_port_of_another_program_is_a_problem(make, taken: int) -> None:
    ((level, _, message, _),) = found(make(listen={"smtp": [f"127.0.0.1:{taken}"]}), "listen.smtp")

    assert level == "problem"
    assert "taken by another program" in message


def test_a_free_port_is_fine_and_an_address_of_others_is_not(make) -> None:
    assert levels(found(make(listen={"smtp": ["127.0.0.1:0", "[::1]:0"]}), "listen.smtp")) == ["ok", "ok"]
    assert levels(found(make(listen={"smtp": ["192.0.2.1:0"]}), "listen.smtp")) == ["problem"]


def test_one_endpoint_cannot_serve_two(make) -> None:
    config = make(listen={"smtp": ["127.0.0.1:2525"], "lmtp": ["127.0.0.1:2525"]})

    assert levels(found(config, "listen.lmtp")) == ["problem"]


def test_a_clock_that_cannot_be_right_is_a_problem(make) -> None:
    config = make()
    assert levels(found(config, "clock", now=0.0)) == ["problem"]

    (config.data_directory / "posthouse.db").touch()
    early = (config.data_directory / "posthouse.db").stat().st_mtime - 3600
    assert "earlier than the newest file" in found(config, "clock", now=early)[0].message


@pytest.fixture
def certificate(tmp_path: Path):
    """Paths of a certificate and its key for `name`, which ends at `until`."""

    def issue(name: str, until: datetime.datetime) -> dict[str, str]:
        issued = trustme.CA().issue_cert(
            name, not_after=until, not_before=until - datetime.timedelta(days=90)
        )
        issued.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
        issued.private_key_pem.write_to_path(tmp_path / "key.pem")
        return {"certificate": str(tmp_path / "chain.pem"), "key": str(tmp_path / "key.pem")}

    return issue


@pytest.mark.parametrize(
    ("name", "days", "level", "told"),
    [
        ("mail.example.org", 60, "ok", "valid until"),
        ("*.example.org", 60, "ok", "valid until"),
        ("mail.example.org", 10, "warning", "soon"),
        ("mail.example.org", -1, "problem", "not valid now"),
        ("other.example.org", 60, "problem", "not for mail.example.org"),
        ("*.mail.example.org", 60, "problem", "not for mail.example.org"),
    ],
)
def test_a_certificate_is_for_us_and_for_some_time(
    make, certificate, name: str, days: int, level: str, told: str
) -> None:
    until = datetime.datetime.fromtimestamp(NOW, datetime.UTC) + datetime.timedelta(days=days)

    (finding,) = found(make(tls=certificate(name, until)), "certificate")

    assert (finding.level, told in finding.message) == (level, True)


def test_a_certificate_that_cannot_be_used_is_a_problem_and_none_a_warning(make, tmp_path: Path) -> None:
    assert levels(found(make(), "certificate")) == ["warning"]
    assert levels(found(make(tls={"certificate": str(tmp_path / "none.pem")}), "certificate")) == ["problem"]
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "bad.pem")
    assert levels(found(make(tls={"certificate": str(tmp_path / "bad.pem")}), "certificate")) == ["problem"]


def test_a_file_that_the_configuration_names_must_be_readable(make) -> None:
    key = "smtp.relay_domains.b.example.recipients"
    config = make(smtp={"relay_domains": {"b.example": {"recipients": "exist.txt"}}})
    assert levels(found(config, key)) == ["problem"]

    (config.data_directory / "exist.txt").write_text("a@b.example\n")
    assert levels(found(config, key)) == ["ok"]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, ["problem", "problem"]),
        ({"addresses": LookupFailed("SERVFAIL"), "mx": LookupFailed("SERVFAIL")}, ["warning", "warning"]),
        ({"addresses": Found(("127.0.0.1",)), "mx": Found((Mx(10, "mail.example.org"),))}, ["ok", "ok"]),
        ({"addresses": Found(("127.0.0.1",)), "mx": Found((Mx(10, "mx.example.net"),))}, ["ok", "warning"]),
        (
            {
                "addresses": Found(("9.9.9.9",)),
                "ptr": Found(("mail.example.org",)),
                "mx": Found((Mx(0, "mail.example.org"),)),
            },
            ["ok", "ok", "ok"],
        ),
        (
            {"addresses": Found(("9.9.9.9",)), "mx": Found((Mx(0, "mail.example.org"),))},
            ["ok", "warning", "ok"],
        ),
    ],
)
async def test_dns_leads_to_us_and_back(make, answers: dict[str, Any], expected: list[str]) -> None:
    assert levels(await examine_dns(make(), ["example.org"], Names(**answers))) == expected


async def test_an_installation_without_a_domain_is_warned_of(make) -> None:
    findings = await examine_dns(make(), [], Names(addresses=Found(("127.0.0.1",))))

    assert levels(findings) == ["ok", "warning"]


@pytest.mark.parametrize(
    ("allowed", "others", "level", "said"),
    [
        (121, 10, "ok", "enough for 2 such hosts"),
        (97, 70, "warning", "others use 70"),
        (30, 0, "problem", "51 of 30"),
    ],
)
def test_the_connections_of_all_workers_fit_into_the_server(make, allowed, others, level, said) -> None:
    # given six workers with four readers, a writer, an ear and two of the text index each, and some commands
    config = make(workers=6)
    finding = examine_connections(config, Capacity(allowed, others))
    assert finding.level == level
    assert said in finding.message


class Bucket:
    """Blobs of which only a list is wanted."""

    def __init__(self, error: str = "") -> None:
        self._error = error

    async def names_before(self, epoch: float, after: str = "") -> AsyncIterator[list[str]]:
        if self._error:
            raise DatabaseAway(self._error)
        yield []


async def test_a_bucket_that_lets_nobody_in_is_a_problem() -> None:
    closed = await examine_blobs("s3://mail/", Bucket("403 Forbidden"))
    assert (closed.level, closed.message) == ("problem", "s3://mail/: 403 Forbidden")
    assert "AWS_ACCESS_KEY_ID" in closed.remedy

    assert (await examine_blobs("s3://mail/", Bucket())).level == "ok"
