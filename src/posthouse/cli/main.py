"""`posthouse`: hands the command line to the noun it names.

A noun's module is imported only when it is used, so that the program starts quickly. Exit codes are
those of sysexits.h.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cyclopts import App

NOUNS: Final = (
    ("init", "Make a new installation in a directory"),
    ("serve", "Run the mail system in the foreground"),
    ("check", "Say what is wrong with this installation, and how to fix it"),
    ("config", "Print the configuration, its reference, or its JSON schema"),
    ("domain", "Domains whose mail is ours"),
    ("account", "Users with mailboxes"),
    ("mailbox", "Mailboxes of an account, and who else may use them"),
    ("alias", "Addresses that stand for others: aliases, forwards, lists, moved users"),
    ("queue", "Mail that waits to leave"),
    ("import", "Bring mail of other systems: Maildir, mbox, or another server over IMAP"),
    ("export", "Write mail as Maildir or mbox"),
    ("migrate-store", "Move the mail to another database and object store, while it is served"),
    ("journey", "What happened to a letter, hop by hop"),
    ("explain", "Explain a reply or an enhanced status code"),
    ("send", "Send a letter, and watch every line of the dialogue"),
    ("talk", "Talk to a mail server by hand"),
    ("sendmail", "sendmail's command line, for programs that want one"),
    ("demo", "Two domains, two servers and their DNS on this machine, and a letter between them"),
    ("pocket", "The pocket internet: DNS, certificates and other people's servers on this machine"),
)


SENDMAIL_NAMES: dict[str, list[str]] = {"sendmail": [], "mailq": ["-bp"], "newaliases": ["-bi"]}
"""Names under which a link to this program is sendmail, and the option that each stands for."""


def module_of(noun: str) -> str:
    """The name of the module of a noun, within `posthouse.cli`."""
    return noun.replace("-", "_") + ("_" if noun == "import" else "")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. `arguments` are those of the process by default."""
    given = sys.argv[1:] if arguments is None else arguments
    name = os.path.basename(sys.argv[0]) if arguments is None else "posthouse"
    try:
        if name in SENDMAIL_NAMES:
            return _as_sendmail([*SENDMAIL_NAMES[name], *given])
        if given and given[0] not in dict(NOUNS) and not given[0].startswith("-"):
            return _unknown(given[0])
        if given[:1] == ["sendmail"]:
            return _as_sendmail(given[1:])
        return _run(given)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough of it; Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return os.EX_OK
    except Exception as error:
        from posthouse.cli.problem import exit_code

        code = exit_code(error)
        if code is None:
            raise
        return code


def _as_sendmail(arguments: list[str]) -> int:
    from posthouse.cli.sendmail import sendmail

    return sendmail(arguments)


def _unknown(noun: str) -> int:
    from difflib import get_close_matches

    from posthouse.cli.problem import tell

    near = get_close_matches(noun, dict(NOUNS), 2)
    tell(
        f"there is no command {noun}",
        f"Did you mean {' or '.join(near)}?" if near else "See posthouse --help.",
    )
    return os.EX_USAGE


def program(noun: str = "") -> App:
    """All commands, as cyclopts knows them. `noun`: the one that is used, which says itself what it does."""
    from cyclopts import App, Parameter

    from posthouse import __version__

    app = App(
        name="posthouse",
        help="A complete mail system in one program.",
        version=__version__,
        result_action="return_value",
        default_parameter=Parameter(negative_iterable=(), show_default=_shown_default),
    )
    for name, help in NOUNS:
        if name != "sendmail":
            said = {} if name == noun else {"help": help}
            app.command(f"posthouse.cli.{module_of(name)}:app", name=name, **said)
    app.command(_sendmail, name="sendmail", help=dict(NOUNS)["sendmail"])
    return app


def _run(given: list[str]) -> int:
    from cyclopts import CycloptsError

    try:
        result = program(given[0] if given else "")(given, exit_on_error=False)
    except CycloptsError:
        return os.EX_USAGE  # cyclopts has said why
    sys.stdout.flush()
    return result if isinstance(result, int) else os.EX_OK


def _shown_default(value: object) -> str | None:
    """What the help says of a default; of those that are nothing, nothing."""
    return str(value) if value else None


def _sendmail() -> None:
    """Only for `posthouse --help`: `main` takes this noun before cyclopts does."""
