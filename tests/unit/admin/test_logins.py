"""What `posthouse check` says of how users log in."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from posthouse.admin.logins import examine_logins
from posthouse.config import ConfigError, from_mapping
from tests.issuer import Issuer
from tests.unit.accounts.world import Clock

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
SET = {"issuer": "https://login.test", "audience": ["mail.test"]}


class Today(Clock):
    def __init__(self) -> None:
        self.time = NOW.timestamp()


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "keys.json").write_text(Issuer().key_set)
    return ca


def found(directory: Path, *mechanisms: str, **tables: Any) -> list[tuple[str, str]]:
    """Level and subject of each finding; paths are those in `directory`."""
    raw = {"data_directory": str(directory), "accounts": {"auth_mechanisms": list(mechanisms)}, **tables}
    findings = list(examine_logins(from_mapping(raw, directory), Today()))
    assert all(finding.remedy for finding in findings if finding.level != "ok")
    return [(finding.level, finding.subject) for finding in findings]


def revocations(ca: trustme.CA, path: Path, until: datetime.datetime) -> None:
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    key: Any = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
    builder = builder.last_update(NOW - DAY - DAY).next_update(until)
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def test_the_usual_is_in_order(tmp_path: Path) -> None:
    assert found(tmp_path, "PLAIN", "LOGIN") == []


def test_what_can_never_be_offered_is_named(tmp_path: Path) -> None:
    warning = ("warning", "accounts.auth_mechanisms")
    assert found(tmp_path, "PLAIN", "EXTERNAL", "XOAUTH2") == [warning, warning]
    assert found(tmp_path, "EXTERNAL", "OAUTHBEARER")[-1] == ("problem", "accounts.auth_mechanisms")


def test_keys_of_no_use_are_named(tmp_path: Path, ca: trustme.CA) -> None:
    tables = {"tls": {"client_ca_file": "ca.pem"}, "oauth": {**SET, "keys_file": "keys.json"}}
    levels = dict(reversed(pair) for pair in found(tmp_path, "PLAIN", **tables))
    assert levels["tls.client_ca_file"] == levels["oauth.issuer"] == "warning"


def test_all_that_is_needed_is_there(tmp_path: Path, ca: trustme.CA) -> None:
    revocations(ca, tmp_path / "crl.pem", NOW + DAY)
    tables = {
        "tls": {"client_ca_file": "ca.pem", "client_crl_file": "crl.pem"},
        "oauth": {**SET, "keys_file": "keys.json"},
    }
    assert {level for level, _ in found(tmp_path, "EXTERNAL", "XOAUTH2", **tables)} == {"ok"}


def test_without_a_revocation_list_there_is_a_warning(tmp_path: Path, ca: trustme.CA) -> None:
    pairs = found(tmp_path, "EXTERNAL", tls={"client_ca_file": "ca.pem"})
    assert ("warning", "tls.client_crl_file") in pairs


def test_a_revocation_list_that_is_out_of_date_is_a_problem(tmp_path: Path, ca: trustme.CA) -> None:
    revocations(ca, tmp_path / "crl.pem", NOW - DAY)
    tables = {"tls": {"client_ca_file": "ca.pem", "client_crl_file": "crl.pem"}}
    assert ("problem", "tls.client_crl_file") in found(tmp_path, "EXTERNAL", **tables)


@pytest.mark.parametrize("name", ["missing", "toml"])
def test_files_that_cannot_be_used_are_problems(tmp_path: Path, name: str) -> None:
    (tmp_path / "toml").write_text("x = 1")
    tables = {
        "tls": {"client_ca_file": name, "client_crl_file": name},
        "oauth": {**SET, "keys_file": name},
    }
    pairs = found(tmp_path, "EXTERNAL", "XOAUTH2", **tables)
    assert ("problem", "tls.client_ca_file") in pairs
    assert ("problem", "oauth.keys_file") in pairs


@pytest.mark.parametrize(
    "table",
    [
        {"oauth": {"issuer": "https://login.test", "keys_file": "keys.json"}},
        {"oauth": SET},
        {"oauth": {"discovery_url": "http://login.test"}},
        {"oauth": {"algorithms": ["HS256"]}},
        {"oauth": {"algorithms": ["none"]}},
        {"oauth": {"algorithms": []}},
        {"tls": {"client_crl_file": "crl.pem"}},
    ],
)
def test_halves_and_what_is_unsafe_are_no_configuration(tmp_path: Path, table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        from_mapping(table, tmp_path)
