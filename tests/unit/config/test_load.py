"""posthouse.toml: every key has a default, and whatever is wrong is told with its line and what was meant."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from posthouse.config import Config, ConfigError, Endpoint, Restriction, default_toml, from_mapping, load
from posthouse.config.reference import in_force, schema


@pytest.fixture
def problems(tmp_path: Path):
    """What is wrong with a text: (line, key, message) each."""

    def find(text: str) -> list[tuple[int, str, str]]:
        file = tmp_path / "posthouse.toml"
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load(file)
        assert all(str(file) in line for line in str(caught.value).splitlines())
        return [tuple(problem) for problem in caught.value.problems]

    return find


def test_an_empty_file_is_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "posthouse.toml"
    file.write_text("")

    config = load(file)

    assert config.data_directory == tmp_path / "data"
    assert config.database.url == f"sqlite:///{tmp_path}/data/posthouse.db"
    assert config.database.blobs == f"file:{tmp_path}/data/blobs"
    assert config.listen.smtp == (Endpoint("0.0.0.0", 25), Endpoint("::", 25))
    assert config.smtp.message_size_limit == 50_000_000
    assert config.queue.maximal_queue_lifetime == 432_000
    assert config.queue.delay_warning_time == 14_400
    assert config.outbound.connection_cache_time_limit == 2
    assert config.journey.enabled is True


def test_every_default_restriction_list_begins_with_permit_mynetworks() -> None:
    smtp = Config().smtp

    lists = [getattr(smtp, name) for name in type(smtp).model_fields if name.endswith("_restrictions")]

    assert len(lists) == 5
    assert all(rules[0] is Restriction.PERMIT_MYNETWORKS for rules in lists)
    assert smtp.recipient_restrictions[1:] == ("permit_sasl_authenticated", "reject_unauth_destination")


def test_values_never_change() -> None:
    config = Config()

    with pytest.raises(ValidationError, match="frozen"):
        config.smtp.recipient_limit = 200


def test_every_listener_may_be_turned_off() -> None:
    off = {name: [] for name in type(Config().listen).model_fields}

    config = from_mapping({"listen": off}, Path("/srv"))

    assert all(endpoints == () for _, endpoints in config.listen)
    assert set(off) == {
        *("smtp", "submission", "submissions", "lmtp", "imap", "imaps"),
        *("pop3", "pop3s", "managesieve", "http", "https"),
    }


def test_relative_paths_lie_under_data_directory() -> None:
    raw = {
        "data_directory": "/var/lib/posthouse",
        "database": {"url": "sqlite:///mail.db", "blobs": "file:/mnt/blobs"},
        "tls": {"certificate": "tls/chain.pem", "key": "/etc/key.pem"},
        "listen": {"lmtp": ["unix:run/lmtp"]},
        "smtp": {"relay_domains": {"Branch.Example": {"next_hop": "10.0.0.2:25", "recipients": "exist.txt"}}},
    }

    config = from_mapping(raw, Path("/elsewhere"))

    assert config.database.url == "sqlite:////var/lib/posthouse/mail.db"
    assert config.database.blobs == "file:/mnt/blobs"
    assert config.tls.certificate == Path("/var/lib/posthouse/tls/chain.pem")
    assert config.tls.key == Path("/etc/key.pem")
    assert config.listen.lmtp == (Endpoint("", 0, "/var/lib/posthouse/run/lmtp"),)
    branch = config.smtp.relay_domains["branch.example"]
    assert branch.next_hop == "[10.0.0.2]:25"
    assert branch.recipients == Path("/var/lib/posthouse/exist.txt")


@pytest.mark.parametrize(
    ("text", "line", "key", "told"),
    [
        ("\nworkerz = 3", 2, "workerz", 'did you mean "workers"'),
        ("smtpd_recipient_limit = 200", 1, "smtpd_recipient_limit", "did you mean smtp.recipient_limit"),
        ("[smtp]\nrelayhost = 'x'", 2, "smtp.relayhost", "did you mean outbound.relayhost"),
        ("[outbounds]\nport = 26", 1, "outbounds", 'did you mean "outbound"'),
        ("[log]\nflavour = 1", 2, "log.flavour", "allowed here: level, format"),
        ("[smtp]\nmessage_size_limit = '5x'", 2, "smtp.message_size_limit", '"50MB"'),
        ("[queue]\n# so\nminimal_backoff_time = 'soon'", 3, "queue.minimal_backoff_time", '"300s"'),
        ("[queue]\nminimal_backoff_time = '2h'", 1, "queue.maximal_backoff_time", "not be less than"),
        ("[smtp]\nmynetworks = [\n '10.0.0.1/8']", 2, "smtp.mynetworks[1]", "10.0.0.0/8"),
        ("smtp.timeout = 'x'", 1, "smtp.timeout", "a duration"),
        ("[listen]\nimap = '0.0.0.0:143'", 2, "listen.imap", "must be a list"),
        ("[listen]\nimap = ['143']", 2, "listen.imap[1]", "there is no port"),
        ("[smtp]\ntls_security_level = 'mai'", 2, "smtp.tls_security_level", 'did you mean "may"'),
        (
            "[smtp]\nhelo_restrictions = ['permit_mynetwork']",
            2,
            "smtp.helo_restrictions[1]",
            'did you mean "permit_mynetworks"',
        ),
        (
            "[smtp]\nrecipient_restrictions = ['permit_mynetworks']",
            2,
            "smtp.recipient_restrictions",
            "open relay",
        ),
        (
            "[smtp]\nrecipient_restrictions = ['permit', 'reject']",
            2,
            "smtp.recipient_restrictions",
            "open relay",
        ),
        ("[smtp]\nrecipient_limit = 99", 2, "smtp.recipient_limit", "at least 100"),
        ("[imap]\nmessage_limit = 999", 2, "imap.message_limit", "1000 at least"),
        ("[imap]\nmessage_limit = 1000\nsave_limit = 2000", 3, "imap.save_limit", "0 beside message_limit"),
        ("[journey]\nenabled = 'yes'", 2, "journey.enabled", "true or false"),
        ("workers = '2'", 1, "workers", "a whole number"),
        ("hostname = 'my_host'", 1, "hostname", "must be a name such as"),
        ("data_directory = 5", 1, "data_directory", "a path in quotes"),
        ("[tls]\nkey = 'k.pem'", 2, "tls.key", "needs tls.certificate"),
        ("[database]\nurl = 'mysql://x'", 2, "database.url", "sqlite:///file"),
        ("[outbound]\nbind_address = '::1'", 2, "outbound.bind_address", "an IPv4 address"),
        ("smtp = 5", 1, "smtp", "must be a table"),
        (
            '[smtp.relay_domains]\n"b.example" = { hop = 1 }',
            2,
            "smtp.relay_domains.b.example.hop",
            "next_hop",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(problems, text: str, line: int, key: str, told: str) -> None:
    ((found_line, found_key, message),) = problems(text)

    assert (found_line, found_key) == (line, key)
    assert told in message


def test_all_problems_are_told_together_in_the_order_of_the_file(problems) -> None:
    found = problems("workerz = 1\n[smtp]\ntimeout = 'x'\n[log]\nlevel = 'loud'\n")

    assert [line for line, _, _ in found] == [1, 3, 5]


@pytest.mark.parametrize(("text", "line"), [("\nhostname = \n", 2), ("[smtp\n", 1), ("a = 1\na = 2\n", 2)])
def test_what_is_not_toml_is_told_with_its_line(problems, text: str, line: int) -> None:
    ((found, _, message),) = problems(text)

    assert found == line
    assert "is not TOML" in message


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'hostname = "\xff"')
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(tmp_path / "latin.toml")


def test_the_file_that_init_writes_means_the_defaults(tmp_path: Path) -> None:
    raw = tomllib.loads(default_toml("mail.example.org"))

    assert from_mapping(raw, tmp_path) == from_mapping({"hostname": "mail.example.org"}, tmp_path)


def test_what_is_commented_out_in_that_file_is_valid_too(tmp_path: Path) -> None:
    lines = default_toml("mail.example.org").splitlines()
    uncommented = [line[2:] for line in lines if line[:3] == "# [" or (line[:1] == "#" and " = " in line)]

    config = from_mapping(tomllib.loads("\n".join(uncommented)), tmp_path)

    assert config.outbound.relayhost == "[smtp.example.net]:587"


def test_what_is_in_force_reads_back_the_same(tmp_path: Path) -> None:
    raw = {
        "hostname": "mail.example.org",
        "smtp": {"relay_domains": {"b.example": {"next_hop": "[10.0.0.2]:25"}}, "timeout": 2.5},
        "tls": {"certificate": "x.pem"},
    }
    config = from_mapping(raw, tmp_path)

    assert from_mapping(tomllib.loads(in_force(config)), Path("/elsewhere")) == config


def test_the_json_schema_knows_every_table() -> None:
    tables = json.loads(schema())["properties"]

    assert set(Config.model_fields) == set(tables)
