"""sendmail's options, as Sendmail, Postfix and Exim take them.

What changes nothing here (-odb, -oem, -G, -U, -n, …) is accepted in silence; what would ask for something
that cannot be had (-bd, -bt, -X) is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from posthouse.mail.envelope import Notify, Return

USAGE = """\
usage: posthouse sendmail [options] [recipient ...] < letter

  -t             recipients are those of To, Cc and Bcc, and those named
  -f ADDRESS     the envelope's sender; <> for none           (also -r)
  -F NAME        full name for From, where the letter has none
  -i, -oi        a line with a single dot does not end the letter
  -N WORDS       tell the sender: never, or of success,failure,delay
  -R full|hdrs   with the whole letter, or its header section
  -V ID          envelope id that comes back with the report
  -B TYPE        7BIT or 8BITMIME
  -v             show the dialogue with the server
  -C FILE        posthouse.toml of the server
  -bm            send a letter (the default)
  -bs            speak SMTP on standard input and output
  -bv            ask whether the recipients exist; send nothing
  -bp            list the queue
  -bi, -q        accepted; there is nothing to do"""

_MODES = {
    "m": "letter",
    "s": "smtp",
    "v": "verify",
    "p": "list queue",
    "i": "newaliases",
}
_FLAGS = "imntvGIU"
_WITH_VALUE = "BCFLMNORVfhpr"
_WITH_REST = "Abdeoq"
"""Options whose value, if any, stands in the same word."""


class UsageError(Exception):
    """The command line asks for what cannot be had; the text says what."""


@dataclass(slots=True)
class Options:
    """What the command line asks for."""

    mode: str = "letter"
    """letter, smtp, verify, list queue, run queue, newaliases, help"""
    recipients: list[str] = field(default_factory=list)
    from_header: bool = False
    sender: str | None = None
    """As given by -f; None without."""
    full_name: str = ""
    ignore_dots: bool = False
    eight_bit: bool = False
    notify: Notify = Notify.UNSTATED
    ret: Return = Return.UNSTATED
    envid: str = ""
    verbose: bool = False
    config: str = ""


def read_options(arguments: list[str]) -> Options:
    """The options and recipients of a command line. Raises UsageError."""
    options = Options()
    words = iter(arguments)
    for word in words:
        if word == "--":
            options.recipients += words
        elif word == "--help":
            options.mode = "help"
        elif word[:1] != "-" or word == "-":
            options.recipients.append(word)
        else:
            _read_word(options, word[1:], words)
    return options


def _read_word(options: Options, letters: str, words: Iterator[str]) -> None:
    """The options of one word, which may stand together: `-ti`, `-fbob@example.org`."""
    for place, letter in enumerate(letters):
        rest = letters[place + 1 :]
        if letter in _WITH_REST:
            _read_rest(options, letter, rest)
            return
        if letter in _WITH_VALUE:
            value = rest or next(words, None)
            if value is None:
                raise UsageError(f"-{letter} wants a value")
            _read_value(options, letter, value)
            return
        if letter not in _FLAGS:
            raise UsageError(f"there is no option -{letter} here; see posthouse sendmail --help")
        _read_flag(options, letter)


def _read_flag(options: Options, letter: str) -> None:
    match letter:
        case "i":
            options.ignore_dots = True
        case "t":
            options.from_header = True
        case "v":
            options.verbose = True
        case "I":
            options.mode = "newaliases"


def _read_rest(options: Options, letter: str, rest: str) -> None:
    match letter:
        case "b":
            if rest not in _MODES:
                raise UsageError(f"-b{rest} cannot be had; `posthouse serve` is the server")
            options.mode = _MODES[rest]
        case "o" if rest == "i":
            options.ignore_dots = True
        case "q":
            options.mode = "run queue"


def _read_value(options: Options, letter: str, value: str) -> None:
    match letter:
        case "f" | "r":
            options.sender = value
        case "F":
            options.full_name = value
        case "C":
            options.config = value
        case "B":
            if value.upper() not in ("7BIT", "8BITMIME"):
                raise UsageError(f"-B {value}: write 7BIT or 8BITMIME")
            options.eight_bit = value.upper() == "8BITMIME"
        case "N":
            options.notify = _read_notify(value)
        case "R":
            if value.upper() not in ("FULL", "HDRS"):
                raise UsageError(f"-R {value}: write full or hdrs")
            options.ret = Return(value.upper())
        case "V":
            # RFC 3461 §4.4: as much as fits into 100 characters of xtext, all of them printable
            if not value or len(value) > 100 or not (value.isascii() and value.isprintable()):
                raise UsageError("-V: an envelope id is 1 to 100 printable ASCII characters")
            options.envid = value
        case "O" if value.lower().replace(" ", "") in ("ignoredots", "ignoredots=true"):
            options.ignore_dots = True


def _read_notify(value: str) -> Notify:
    """RFC 3461 §4.1: NEVER alone, or some of the others."""
    notify = Notify.UNSTATED
    words = value.upper().split(",")
    for word in words:
        if word not in Notify.__members__ or word == "UNSTATED" or (word == "NEVER" and len(words) > 1):
            raise UsageError(f"-N {value}: write never, or some of success,failure,delay")
        notify |= Notify[word]
    return notify
