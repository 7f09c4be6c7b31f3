"""One plain sentence for each line of an SMTP dialogue, ours and theirs."""

from __future__ import annotations

import re

from posthouse.mail import codes

_VERBS = {
    "EHLO": "We introduce ourselves, and ask what the server can do.",
    "HELO": "We introduce ourselves in the old way, which offers no extensions.",
    "LHLO": "We introduce ourselves to a delivery agent (LMTP), and ask what it can do.",
    "STARTTLS": "We ask to encrypt the connection.",
    "AUTH": "We log in; the secret is not shown.",
    "DATA": "We ask to send the letter itself.",
    "RSET": "We take back the envelope, and begin anew.",
    "NOOP": "We ask for nothing but a sign of life.",
    "QUIT": "We say goodbye.",
    "VRFY": "We ask whether an address exists; most servers do not tell strangers.",
    "EXPN": "We ask for the members of a list; most servers do not tell strangers.",
    "HELP": "We ask for help.",
}

_EXTENSIONS = {
    "PIPELINING": "Several commands may be sent at once, without waiting for each reply.",
    "SIZE": "We may announce how large the letter is; a number is the most that is taken, in octets.",
    "8BITMIME": "Letters may hold octets beyond ASCII.",
    "BINARYMIME": "Letters may hold any octets, and lines of any length.",
    "SMTPUTF8": "Addresses may hold letters beyond ASCII.",
    "STARTTLS": "The connection can be encrypted.",
    "REQUIRETLS": "We may demand that the letter travels encrypted all the way.",
    "AUTH": "One can log in, in these ways.",
    "ENHANCEDSTATUSCODES": "Replies carry a second code, such as 5.1.1, that is more precise.",
    "DSN": "We may ask to be told of delivery, delay or failure.",
    "CHUNKING": "The letter may be sent in counted pieces (BDAT).",
    "EXPN": "One can ask for the members of a list.",
    "VRFY": "One can ask whether an address exists.",
    "HELP": "There is help.",
    "ETRN": "One can ask for waiting mail of a domain.",
    "DELIVERBY": "We may set a time by which the letter must be delivered.",
    "LIMITS": "The server tells how much it takes of something.",
    "MT-PRIORITY": "Letters may have a priority.",
    "XCLIENT": "Trusted programs may tell for whom they speak.",
    "XFORWARD": "Trusted programs may tell where a letter came from.",
}

_COUNTED = re.compile(r"\[(\d+) octets\]\Z")
_PATH = re.compile(r"<(.*)>")
_REPLY = re.compile(r"([2-5]\d\d)(?:[ -](.*))?\Z", re.DOTALL)


def said(line: str) -> str:
    """What a line of the client means; empty where nobody knows."""
    verb = line.partition(" ")[0].upper()
    if verb == "MAIL":
        path = _PATH.search(line)
        if path is None or not path[1]:
            return "The envelope has no sender: if the letter cannot be delivered, nobody is told."
        return f"The envelope's sender is {path[1]}, who is told if the letter cannot be delivered."
    if verb == "RCPT":
        path = _PATH.search(line)
        return f"We ask whether the server takes the letter for {path[1] if path else 'this recipient'}."
    if verb == "BDAT":
        last = " These are the last." if line.upper().endswith(" LAST") else ""
        return f"So many octets of the letter follow at once.{last}"
    if line == ".":
        return "The end of the letter. The next reply decides who is responsible for it."
    if line == "[secret]":
        return "Part of the login, which is not shown."
    if line == "*":
        return "We break off the login."
    if content_size(line) is not None:
        return "The letter: header section, empty line, body."
    return _VERBS.get(verb, "")


def content_size(line: str) -> int | None:
    """The octets that a line such as `[812 octets]` stands for; None for other lines."""
    counted = _COUNTED.match(line)
    return int(counted[1]) if counted else None


def offered(line: str) -> str:
    """What a line of the reply to EHLO offers; empty where it is none, or nobody knows."""
    match = _REPLY.match(line)
    if match is None or match[1] != "250":
        return ""
    return _EXTENSIONS.get((match[2] or "").partition(" ")[0].partition("=")[0].upper(), "")


def heard(line: str) -> str:
    """What a line of the server's reply means; empty where nobody knows."""
    if extension := offered(line):
        return extension
    match = _REPLY.match(line)
    if match is None:
        return ""
    code, text = int(match[1]), match[2] or ""
    explained = codes.explain(f"{code} {text}")
    if code < 500 or not explained.advice:  # the advice about 4xx is for those who have a queue
        return explained.says
    return f"{explained.says} {explained.advice}"


def printable(text: str) -> str:
    """`text` without anything that could steer a terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)
