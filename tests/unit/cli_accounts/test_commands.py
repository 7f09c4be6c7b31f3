"""`posthouse domain`, `account` and `alias` as an administrator types them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import posthouse

PASSWORD = "a very long road to Samarkand"


class Shell:
    """Runs `posthouse` on one installation."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def run(self, *arguments: str, stdin: str = "", code: int = os.EX_OK) -> subprocess.CompletedProcess[str]:
        variables = {"POSTHOUSE_CONFIG": str(self._directory / "posthouse.toml")}
        done = posthouse(*arguments, stdin=stdin.encode(), directory=Path.cwd(), variables=variables)
        assert done.returncode == code, done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new installation: example.org with the administrator postmaster@example.org."""
    directory = tmp_path_factory.mktemp("fresh") / "mail"
    Shell(directory).run(
        "init",
        str(directory),
        "--hostname",
        "mail.example.org",
        "--domain",
        "example.org",
        "--password-stdin",
        stdin=f"{PASSWORD}\n",
    )
    return directory


@pytest.fixture
def shell(fresh: Path, tmp_path: Path) -> Shell:
    """A copy of it to work on."""
    shutil.copytree(fresh, tmp_path / "mail")
    return Shell(tmp_path / "mail")


def test_a_new_installation_has_its_domain_and_administrator(shell: Shell) -> None:
    assert [found["domain"] for found in shell.json("domain", "list")] == ["example.org"]
    (admin,) = shell.json("account", "list")
    assert (admin["address"], admin["admin"], admin["state"]) == ("postmaster@example.org", True, "active")


def test_a_domain_lives_from_add_to_remove(shell: Shell) -> None:
    shell.run("domain", "add", "Bücher.example", "--separator", "-", "--catch-all", "postmaster@example.org")
    shown = shell.json("domain", "show", "bücher.example")
    assert shown == {
        "domain": "xn--bcher-kva.example",
        "accounts": 0,
        "aliases": 0,
        "catch_all": "postmaster@example.org",
        "separator": "-",
    }
    shell.run("domain", "add", "bücher.example", code=os.EX_CANTCREAT)
    shell.run("domain", "set", "bücher.example", "--catch-all", "", "--separator", "+")
    assert shell.json("domain", "show", "bücher.example")["catch_all"] == ""
    shell.run("domain", "remove", "bücher.example")
    shell.run("domain", "show", "bücher.example", code=os.EX_NOUSER)


def test_a_domain_with_addresses_is_not_removed(shell: Shell) -> None:
    refused = shell.run("domain", "remove", "example.org", code=os.EX_DATAERR)
    assert "still has 1 accounts" in refused.stderr
    assert "posthouse account list --domain example.org" in refused.stderr


def test_an_account_lives_from_add_to_rename(shell: Shell) -> None:
    made = shell.run(
        "account",
        "add",
        "Alice@example.org",
        "--password-stdin",
        "--name",
        "Alice",
        "--quota",
        "5GB",
        stdin=f"{PASSWORD}\n",
    )
    assert made.stderr == ""
    shell.run("alias", "add", "al@example.org", "alice@example.org")
    shown = shell.json("account", "show", "alice@example.org")
    assert shown == {
        "address": "alice@example.org",
        "name": "Alice",
        "state": "active",
        "admin": False,
        "shared": False,
        "quota": 5_000_000_000,
        "used": 0,
        "aliases": ["al@example.org"],
        "passwords": ["password"],
    }
    shell.run("account", "set", "alice@example.org", "--disable", "--quota", "none", "--admin")
    shell.run("account", "set", "alice@example.org", "--new-address", "alice.b@example.org")
    renamed = shell.json("account", "show", "alice.b@example.org")
    assert (renamed["state"], renamed["quota"], renamed["admin"]) == ("disabled", 0, True)
    shell.run("account", "set", "alice.b@example.org", "--enable", "--quota", "default", "--no-admin")
    shown = shell.json("account", "show", "alice.b@example.org")
    assert (shown["state"], shown["quota"], shown["admin"]) == ("active", None, False)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ("account", "add", "alice@example.net", "--password-stdin"),
            os.EX_DATAERR,
            "domain add example.net",
        ),
        (("account", "add", "postmaster@example.org", "--password-stdin"), os.EX_CANTCREAT, "there already"),
        (("account", "add", "no address", "--password-stdin"), os.EX_DATAERR, "is not an address"),
        (("account", "add", "x@example.org"), os.EX_USAGE, "--password-stdin"),
        (("account", "add", "x@example.org", "--quota", "many", "--password-stdin"), os.EX_USAGE, "5"),
        (("account", "show", "postmster@example.org"), os.EX_NOUSER, "Did you mean postmaster@example.org?"),
        (
            ("account", "set", "postmaster@example.org", "--disable"),
            os.EX_DATAERR,
            "last active administrator",
        ),
        (("account", "set", "postmaster@example.org", "--no-admin"), os.EX_DATAERR, "last active"),
        (("account", "remove", "postmaster@example.org"), os.EX_USAGE, "--yes"),
        (("account", "list", "--domain", "exmple.org"), os.EX_NOUSER, "Did you mean example.org?"),
        (("alias", "add", "x@example.net", "y@example.org"), os.EX_DATAERR, "domain add example.net"),
        (("alias", "add", "x@example.org", "y"), os.EX_DATAERR, "y@example.org"),
        (
            ("alias", "add", "x@example.org", "a@x.example", "b@x.example", "--kind", "moved"),
            65,
            "one new address",
        ),
        (("alias", "show", "nobody@example.org"), os.EX_NOUSER, "no alias nobody@example.org"),
        (("domain", "add", "192.0.2.1"), os.EX_DATAERR, "not a domain"),
        (("domain", "set", "example.org", "--separator", "@"), os.EX_DATAERR, "cannot part"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(
    shell: Shell, arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert says in shell.run(*arguments, stdin=f"{PASSWORD}\n", code=code).stderr


def test_a_weak_password_is_warned_of_and_taken_and_never_shown(shell: Shell) -> None:
    made = shell.run("account", "add", "bob@example.org", "--password-stdin", stdin="hunter2\n")
    assert "warning" in made.stderr
    assert "hunter2" not in made.stderr + made.stdout
    assert shell.json("account", "show", "bob@example.org")["passwords"] == ["password"]


def test_an_empty_password_is_refused(shell: Shell) -> None:
    refused = shell.run(
        "account", "add", "bob@example.org", "--password-stdin", stdin="\n", code=os.EX_DATAERR
    )
    assert "the password is empty" in refused.stderr
    shell.run("account", "show", "bob@example.org", code=os.EX_NOUSER)


def test_an_alias_lives_from_add_to_remove(shell: Shell) -> None:
    added = shell.run("alias", "add", "all@example.org", "postmaster@example.org", "--kind", "list")
    assert added.stderr == ""
    changed = shell.run(
        "alias",
        "set",
        "all@example.org",
        "--include",
        "x@example.net",
        "--include",
        "gone@example.org",
        "--kind",
        "alias",
    )
    assert "Mail to gone@example.org would be refused: 550 5.1.1" in changed.stderr
    assert shell.json("alias", "list") == [
        {
            "address": "all@example.org",
            "kind": "alias",
            "targets": ["gone@example.org", "postmaster@example.org", "x@example.net"],
        }
    ]
    shell.run("alias", "set", "all@example.org", "--exclude", "gone@example.org")
    shell.run("alias", "set", "all@example.org", "--exclude", "gone@example.org", code=os.EX_NOUSER)
    assert len(shell.json("alias", "show", "all@example.org")["targets"]) == 2
    shell.run("alias", "set", "all@example.org", "y@example.net")
    assert shell.json("alias", "show", "all@example.org")["targets"] == ["y@example.net"]
    shell.run("alias", "remove", "all@example.org")
    assert "There is no alias" in shell.run("alias", "list").stdout


def test_a_loop_of_aliases_is_warned_of(shell: Shell) -> None:
    shell.run("alias", "add", "a@example.org", "b@example.org")
    closed = shell.run("alias", "add", "b@example.org", "a@example.org")
    assert "form a loop" in closed.stderr
    shadow = shell.run("alias", "add", "postmaster@example.org", "x@example.net")
    assert "gets nothing any more" in shadow.stderr


def test_an_account_is_removed_with_its_mail(shell: Shell) -> None:
    shell.run("account", "add", "bob@example.org", "--password-stdin", stdin=f"{PASSWORD}\n")
    shell.run("alias", "add", "rob@example.org", "bob@example.org")
    removed = shell.run("account", "remove", "bob@example.org", "--yes")
    assert "still named by rob@example.org" in removed.stderr
    shell.run("account", "show", "bob@example.org", code=os.EX_NOUSER)
    assert [account["address"] for account in shell.json("account", "list")] == ["postmaster@example.org"]
    shell.run("account", "add", "bob@example.org", "--password-stdin", stdin=f"{PASSWORD}\n")


def test_an_index_can_be_made_anew(shell: Shell) -> None:
    assert "postmaster" in shell.run("account", "reindex", "postmaster@example.org").stdout
    assert "all accounts" in shell.run("account", "reindex", "--all").stdout
    assert shell.json("account", "index") == [
        {"address": "postmaster@example.org", "messages": 0, "indexed": 0, "not yet indexed": 0}
    ]
    shell.run("account", "reindex", "nobody@example.org", code=os.EX_NOUSER)
    shell.run("account", "reindex", code=os.EX_USAGE)
    shell.run("account", "reindex", "postmaster@example.org", "--all", code=os.EX_USAGE)


def test_a_cut_mbox_is_brought_with_a_warning(shell: Shell, tmp_path: Path) -> None:
    first = "From a@x.test Thu Jul 13 12:26:40 2017\nSubject: one\n\nOne.\n\n"
    (tmp_path / "letters").write_text(first + first.removesuffix(".\n\n"))
    arguments = ("import", "mbox", str(tmp_path / "letters"), "--account", "postmaster@example.org")
    told = (
        f"warning: {tmp_path / 'letters'}: the last message, at octet {len(first)}, is cut in its last line\n"
    )
    done = shell.run(*arguments, code=os.EX_DATAERR)
    assert told in done.stderr
    # and once more, for a program, with nothing left to bring
    done = shell.run(*arguments, "--json", code=os.EX_DATAERR)
    (record,) = json.loads(done.stdout)
    assert (record["added"], record["there_already"], record["skipped"]) == (0, 2, 0)
    assert record["warnings"] == [told.removeprefix("warning: ").strip()]


def test_mailboxes_are_shared_and_unshared(shell: Shell) -> None:
    # given an account that nobody logs in to, and a user
    made = shell.run("account", "add", "info@example.org", "--shared").stdout
    assert "posthouse mailbox share info@example.org INBOX" in made
    assert shell.json("account", "show", "info@example.org")["shared"] is True
    assert shell.json("account", "show", "info@example.org")["passwords"] == []
    shell.run("account", "add", "bob@example.org", "--password-stdin", stdin=f"{PASSWORD}\n")
    # when
    shared = shell.run("mailbox", "share", "info@example.org", "INBOX", "bob@example.org", "lrswite")
    assert shared.stdout == "bob@example.org has the rights lrswite in INBOX of info@example.org.\n"
    shell.run("mailbox", "share", "info@example.org", "inbox", "anyone")
    shell.run("mailbox", "share", "info@example.org", "INBOX", "Bob@Example.Org", "-te")
    # then
    assert shell.json("mailbox", "rights", "info@example.org", "INBOX") == [
        {"user": "anyone", "denied": False, "rights": "lr"},
        {"user": "bob@example.org", "denied": False, "rights": "lrswi"},
    ]
    boxes = {box["mailbox"]: box for box in shell.json("mailbox", "list", "info@example.org")}
    assert (boxes["INBOX"]["shared with"], boxes["Sent"]["shared with"]) == (2, 0)
    assert boxes["Sent"]["special"] == "\\Sent"
    # and back
    shell.run("mailbox", "unshare", "info@example.org", "INBOX", "anyone")
    assert [grant["user"] for grant in shell.json("mailbox", "rights", "info@example.org", "INBOX")] == [
        "bob@example.org"
    ]
    shell.run("account", "set", "info@example.org", "--no-shared")
    assert shell.json("account", "show", "info@example.org")["shared"] is False


def test_mailboxes_are_made_renamed_and_deleted(shell: Shell) -> None:
    whom = "postmaster@example.org"
    made = shell.run("mailbox", "create", whom, "Lists/Python", "--subscribe").stdout
    assert made == f"Made Lists, Lists/Python of {whom}.\n"
    shell.run("mailbox", "create", whom, "Sent", code=os.EX_CANTCREAT)
    shell.run("mailbox", "rename", whom, "Lists", "Groups")
    shell.run("mailbox", "set", whom, "Junk", "--special-use", "none")
    shell.run("mailbox", "set", whom, "Groups", "--special-use", "junk")
    shell.run("mailbox", "unsubscribe", whom, "Trash")
    boxes = {box.pop("mailbox"): box for box in shell.json("mailbox", "list", whom)}
    assert boxes["Groups/Python"] == {
        "messages": 0,
        "unseen": 0,
        "size": 0,
        "special": "",
        "subscribed": True,
        "shared with": 0,
    }
    assert (boxes["Groups"]["special"], boxes["Trash"]["subscribed"]) == ("\\Junk", False)
    shell.run("mailbox", "subscribe", whom, "Trash")
    gone = shell.run("mailbox", "delete", whom, "Groups", "--below").stdout
    assert gone == f"Deleted Groups, Groups/Python of {whom}, with 0 messages.\n"
    shell.run("mailbox", "delete", whom, "Groups", code=os.EX_NOUSER)
    shell.run("mailbox", "delete", whom, "INBOX", code=os.EX_DATAERR)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("postmaster@example.org", "Nowhere", "anyone"), "no mailbox Nowhere"),
        (("postmaster@example.org", "INBOX", "nobody@example.org"), "no account nobody@example.org"),
        (("postmaster@example.org", "INBOX", "anyone", "lrz"), "no right 'z'"),
        (("postmaster@example.org", "INBOX", "postmaster@example.org"), "is the owner"),
        (("nobody@example.org", "INBOX", "anyone"), "no account nobody@example.org"),
    ],
)
def test_what_cannot_be_shared_is_said(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    code = os.EX_NOUSER if said.startswith("no account") or said.startswith("no mailbox") else os.EX_DATAERR
    assert said in shell.run("mailbox", "share", *arguments, code=code).stderr
