"""What replies mean, in plain words, and what to do.

Reply codes (RFC 5321 §4.2.3), enhanced codes (RFC 3463 and the IANA registry), and the texts by which
well-known refusals are recognized. Used where people read: bounces, journeys and `posthouse explain`.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Meaning(NamedTuple):
    """What something says, and what its reader can do about it (empty where there is nothing to do)."""

    says: str
    advice: str = ""


class Explained(NamedTuple):
    """A reply taken apart. Fields that the reply does not have, or that nobody knows, are empty or None."""

    code: int
    enhanced: str
    text: str
    by_code: Meaning | None
    by_enhanced: Meaning | None
    by_text: Meaning | None

    @property
    def says(self) -> str:
        """The most telling of what is known, as one sentence."""
        best = self.by_text or self.by_enhanced or self.by_code
        return best.says if best else "The server gave an answer that is not in the book."

    @property
    def advice(self) -> str:
        for meaning in (self.by_text, self.by_enhanced, self.by_code):
            if meaning is not None and meaning.advice:
                return meaning.advice
        return ""


_LATER = "Nothing to do: the mail system tries again by itself."
_CHECK_ADDRESS = (
    "Check the address for a typing mistake, or ask the recipient for the right one in another way."
)
_OTHER_POSTMASTER = "Ask the administrator of the receiving system, through another way than this address."
_OWN_POSTMASTER = "Tell the administrator of the sending system."
_LESS = "Send something smaller, or a link to it."

CLASSES: dict[str, Meaning] = {
    "2": Meaning("It worked."),
    "3": Meaning("The server waits for more."),
    "4": Meaning("It did not work this time, but may later.", _LATER),
    "5": Meaning("It will not work like this.", "Trying again unchanged is of no use."),
}

REPLY_CODES: dict[int, Meaning] = {
    211: Meaning("The server tells its status."),
    214: Meaning("The server gives help."),
    220: Meaning("The server is ready."),
    221: Meaning("The server closes the connection."),
    235: Meaning("The login was accepted."),
    250: Meaning("The command was carried out."),
    251: Meaning("The user is elsewhere, and the server will forward the message."),
    252: Meaning("The server cannot tell whether the user exists, but will take the message and try."),
    334: Meaning("The server waits for the next step of the login."),
    354: Meaning("The server is ready for the message."),
    421: Meaning("The server is busy, shuts down or has had enough, and closes the connection.", _LATER),
    450: Meaning("The mailbox cannot be used right now: busy, or refused for the moment.", _LATER),
    451: Meaning("The server had an error of its own, or wants the sender to come back later.", _LATER),
    452: Meaning("The server has no room, or takes no more recipients at once.", _LATER),
    454: Meaning("Encryption or login is not available right now.", _LATER),
    455: Meaning("The server cannot honour the parameters right now.", _LATER),
    500: Meaning("The server did not understand the command, or the line was too long.", _OWN_POSTMASTER),
    501: Meaning(
        "The server did not understand what followed the command, often an address.", _CHECK_ADDRESS
    ),
    502: Meaning("The server knows the command but does not offer it.", _OWN_POSTMASTER),
    503: Meaning("The commands came in the wrong order.", _OWN_POSTMASTER),
    504: Meaning("The server does not offer this variant of the command.", _OWN_POSTMASTER),
    521: Meaning("This host takes no mail at all.", _CHECK_ADDRESS),
    530: Meaning(
        "The server wants a login or encryption first.",
        "Turn on login and STARTTLS or TLS in the mail program.",
    ),
    534: Meaning(
        "The server wants a stronger way to log in.", "Choose another login method in the mail program."
    ),
    535: Meaning(
        "The name or the password is wrong.", "Enter name and password again; the name is the full address."
    ),
    538: Meaning(
        "This way to log in needs an encrypted connection.", "Turn on STARTTLS or TLS in the mail program."
    ),
    550: Meaning(
        "The mailbox does not exist, or the server refuses mail to it or from this sender.", _CHECK_ADDRESS
    ),
    551: Meaning("The user is elsewhere; the reply may tell the new address.", "Send to the new address."),
    552: Meaning("The mailbox or the message is over its size limit.", _LESS),
    553: Meaning("The address is not allowed.", _CHECK_ADDRESS),
    554: Meaning(
        "The server refuses the message or the whole connection.", "The text after the code tells why."
    ),
    555: Meaning("The server does not know a parameter that came with an address.", _OWN_POSTMASTER),
    556: Meaning("The domain of the recipient takes no mail.", _CHECK_ADDRESS),
}

SUCCESS_CODES: dict[str, Meaning] = {
    "1.0": Meaning("The sender's address is good."),
    "1.5": Meaning("The recipient's address is good."),
    "1.9": Meaning("The message went on to a system that cannot report what becomes of it."),
    "7.0": Meaning("The login was accepted."),
}
"""What enhanced codes say behind a 2: the same subjects, but nothing is wrong."""

ENHANCED_CODES: dict[str, Meaning] = {
    "0.0": Meaning("No details are given."),
    "1.0": Meaning("Something is wrong with an address.", _CHECK_ADDRESS),
    "1.1": Meaning("There is no such mailbox at that domain.", _CHECK_ADDRESS),
    "1.2": Meaning("The domain of the recipient does not exist or cannot take mail.", _CHECK_ADDRESS),
    "1.3": Meaning("The recipient's address is not written correctly.", _CHECK_ADDRESS),
    "1.4": Meaning("The address fits more than one mailbox.", _CHECK_ADDRESS),
    "1.6": Meaning("The recipient has moved away.", "Ask the recipient for the new address in another way."),
    "1.7": Meaning(
        "The sender's address is not written correctly.", "Correct the sender in the mail program."
    ),
    "1.8": Meaning(
        "The domain of the sender does not exist.", "Correct the sender, or the DNS of its domain."
    ),
    "1.10": Meaning("The domain says in DNS that it takes no mail (null MX).", _CHECK_ADDRESS),
    "2.0": Meaning("Something is wrong with the mailbox."),
    "2.1": Meaning("The mailbox exists but takes no messages.", _OTHER_POSTMASTER),
    "2.2": Meaning("The mailbox is full.", "Tell the recipient in another way, and send again later."),
    "2.3": Meaning("The message is longer than this mailbox may receive.", _LESS),
    "2.4": Meaning("The mailing list could not be resolved into its members.", _OTHER_POSTMASTER),
    "3.0": Meaning("Something is wrong with the receiving system."),
    "3.1": Meaning("The receiving system has no room left.", _OTHER_POSTMASTER),
    "3.2": Meaning("The receiving system takes no messages at the moment.", _LATER),
    "3.3": Meaning("The receiving system lacks a feature that the message needs.", _OTHER_POSTMASTER),
    "3.4": Meaning("The message is larger than the receiving system allows.", _LESS),
    "3.5": Meaning("The receiving system is configured wrongly.", _OTHER_POSTMASTER),
    "3.6": Meaning("The priority of the message was changed."),
    "4.0": Meaning("Something is wrong on the way."),
    "4.1": Meaning("The receiving host does not answer.", _LATER),
    "4.2": Meaning("The connection broke or timed out.", _LATER),
    "4.3": Meaning("A directory, such as DNS, did not answer.", _LATER),
    "4.4": Meaning("There is no way to the receiving system: DNS names no usable host.", _CHECK_ADDRESS),
    "4.5": Meaning("The receiving system is overloaded.", _LATER),
    "4.6": Meaning("The message goes round in circles between systems.", _OTHER_POSTMASTER),
    "4.7": Meaning(
        "The message could not be delivered in the time allowed.", "Send it again, or use another way."
    ),
    "5.0": Meaning("The two systems did not understand each other."),
    "5.1": Meaning("The command is not known, or came at the wrong moment.", _OWN_POSTMASTER),
    "5.2": Meaning("The command was not written correctly.", _OWN_POSTMASTER),
    "5.3": Meaning("There are too many recipients for one message.", "Send to fewer recipients at once."),
    "5.4": Meaning("A parameter of the command is not valid.", _OWN_POSTMASTER),
    "5.5": Meaning("The systems speak different versions of the protocol.", _OWN_POSTMASTER),
    "5.6": Meaning("A line of the login was too long.", _OWN_POSTMASTER),
    "6.0": Meaning("Something is wrong with the content of the message."),
    "6.1": Meaning("The kind of content is not supported there.", "Send it in another format."),
    "6.2": Meaning("The content would have to be converted, which is forbidden.", _OTHER_POSTMASTER),
    "6.3": Meaning(
        "The content would have to be converted, which is impossible.", "Send it in another format."
    ),
    "6.4": Meaning("The content was converted and lost something."),
    "6.5": Meaning("The content could not be converted.", "Send it in another format."),
    "6.6": Meaning("The content could not be fetched.", "Send it again."),
    "6.7": Meaning(
        "An address beyond ASCII is not possible there.", "Use an address in plain Latin letters."
    ),
    "6.8": Meaning("The answer would need letters beyond ASCII, which are not allowed.", _OWN_POSTMASTER),
    "6.9": Meaning(
        "The header has letters beyond ASCII, which the next system cannot take.", "Use plain letters."
    ),
    "6.10": Meaning("The answer would need letters beyond ASCII, which are not allowed.", _OWN_POSTMASTER),
    "7.0": Meaning("The message is refused for reasons of security or policy.", _OTHER_POSTMASTER),
    "7.1": Meaning("The server does not allow this delivery by its rules.", _OTHER_POSTMASTER),
    "7.2": Meaning("The sender may not write to this mailing list.", "Ask the owner of the list."),
    "7.3": Meaning(
        "A change of security along the way would be needed and is impossible.", _OTHER_POSTMASTER
    ),
    "7.4": Meaning("A security feature that the message needs is not supported.", _OTHER_POSTMASTER),
    "7.5": Meaning("Encryption or its keys failed.", _OTHER_POSTMASTER),
    "7.6": Meaning("The encryption method is not supported.", _OTHER_POSTMASTER),
    "7.7": Meaning("The message was changed on its way or its check value is wrong.", "Send it again."),
    "7.8": Meaning("The name or the password is wrong.", "Enter name and password again."),
    "7.9": Meaning("This way to log in is too weak for the account.", "Choose another login method."),
    "7.10": Meaning("The server wants an encrypted connection.", "Turn on TLS."),
    "7.11": Meaning("This way to log in needs an encrypted connection.", "Turn on TLS."),
    "7.12": Meaning("The password must be entered in another way once.", "Log in with PLAIN over TLS once."),
    "7.13": Meaning("The account is disabled.", "Ask the administrator of that system."),
    "7.14": Meaning("The server wants a trust that does not exist.", _OTHER_POSTMASTER),
    "7.15": Meaning("The priority of the message is too low to be taken now.", _LATER),
    "7.16": Meaning("The message is too big for its priority.", _LESS),
    "7.17": Meaning("The mailbox has another owner since the date the message names.", _CHECK_ADDRESS),
    "7.18": Meaning("The domain has another owner since the date the message names.", _CHECK_ADDRESS),
    "7.19": Meaning("Whether the mailbox changed its owner cannot be checked.", _OTHER_POSTMASTER),
    "7.20": Meaning("The message has no valid DKIM signature.", "Sign with DKIM, and check the key in DNS."),
    "7.21": Meaning(
        "The DKIM signature is valid but not acceptable.", "Sign with a key of the sender's domain."
    ),
    "7.22": Meaning(
        "No valid DKIM signature is by the author's domain.", "Sign with a key of the From domain."
    ),
    "7.23": Meaning(
        "SPF says that the sending host may not send for this domain.",
        "Add the host to the domain's SPF record.",
    ),
    "7.24": Meaning(
        "The SPF record could not be evaluated.", "Correct the SPF record of the sender's domain."
    ),
    "7.25": Meaning(
        "The sending host's address has no name in DNS that leads back to it.",
        "Set a PTR record for the address and an A or AAAA record for that name.",
    ),
    "7.26": Meaning("The message failed several checks of the sender.", "Set up SPF, DKIM and DMARC."),
    "7.27": Meaning("The sender's domain says that it takes no mail (null MX).", "Send from another domain."),
    "7.28": Meaning("Too much mail came at once.", "Send less at a time."),
    "7.29": Meaning("The chain of ARC seals is broken.", _OTHER_POSTMASTER),
    "7.30": Meaning(
        "The message demands TLS all the way, which the next system does not offer.", _OTHER_POSTMASTER
    ),
}

_TEXTS: tuple[tuple[re.Pattern[str], Meaning], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), Meaning(says, advice))
    for pattern, says, advice in (
        (
            r"gr[ea]y-?list|\bgrey\b",
            "The server makes unknown senders wait (greylisting) and takes the message at a later attempt.",
            _LATER,
        ),
        (
            r"spamhaus|barracuda|spamcop|sorbs|\b[rd]nsbl\b|\brbl\b|block-?list|black-?list"
            r"|listed (?:at|by|in|on)",
            "The sending host's address is on a blocklist that the server asks.",
            "Look the address up at the blocklist that is named, remove the cause, then ask to be delisted.",
        ),
        (
            r"\bdmarc\b",
            "The message fails DMARC: neither SPF nor DKIM passes for the domain in From.",
            "Sign with DKIM for the From domain, and let SPF name the sending host.",
        ),
        (
            r"\bdkim\b",
            "The DKIM signature is missing or not valid.",
            "Check the signing key, its record in DNS, and that nothing changes the message after signing.",
        ),
        (
            r"\bspf\b|sender policy framework|not (?:allowed|permitted|authori[sz]ed) to send",
            "SPF does not allow the sending host to send for the sender's domain.",
            "Add the host to the SPF record of the domain.",
        ),
        (
            r"reverse (?:dns|lookup|hostname)|\bptr\b|\brdns\b|cannot find your (?:reverse )?hostname",
            "The sending host's address has no proper name in DNS.",
            "Set a PTR record for the address and an A or AAAA record for that name.",
        ),
        (
            r"mailbox (?:is )?full|over ?quota|quota exceeded|exceeded (?:storage|its quota)"
            r"|insufficient (?:storage|space|system storage)",
            "The mailbox, or the disk behind it, is full.",
            "Tell the recipient in another way, and send again later.",
        ),
        (
            r"rate.?limit|too (?:many|much) (?:connections|messages|mail|requests|emails)|throttl|slow down"
            r"|try again in",
            "The server limits how much it takes in a time.",
            "The mail system tries again by itself; if it happens often, send less at a time.",
        ),
        (
            r"starttls|tls (?:is )?required|encryption (?:is )?(?:needed|required)|must (?:use|issue) .*tls",
            "The server wants the connection encrypted.",
            "Turn on TLS for this destination.",
        ),
        (
            r"authentication (?:is )?required|must (?:log ?in|authenticate)|auth(?:entication)? first",
            "The server wants a login before it takes mail.",
            "Turn on login in the mail program, and use the submission port 587 or 465.",
        ),
        (
            r"relay(?:ing)? (?:access )?(?:is )?(?:denied|not (?:permitted|allowed)|prohibited)"
            r"|unable to relay|open relay",
            "The server takes mail only for its own domains, and this is none; or the sender must log in.",
            "Check the address and the MX records of its domain; a user of the server has to log in first.",
        ),
        (
            r"user (?:is )?(?:unknown|not found|doesn'?t exist)|unknown (?:user|recipient|mailbox)"
            r"|no such (?:user|mailbox|recipient|person)|mailbox (?:unavailable|not found|unknown)"
            r"|recipient (?:address )?(?:unknown|not found)|invalid (?:recipient|mailbox|user)",
            "There is no such mailbox at that domain.",
            _CHECK_ADDRESS,
        ),
        (
            r"too (?:big|large)|size (?:limit|exceed)|exceeds .*(?:size|limit)",
            "The message is larger than allowed there.",
            _LESS,
        ),
        (
            r"too many hops|loops? (?:back|detected)|mail loop|routing loop|already delivered",
            "The message goes round in circles between systems.",
            _OTHER_POSTMASTER,
        ),
        (
            r"\bvirus|malware|infected",
            "The server holds the message for infected.",
            "Check the attachment and the computer it came from.",
        ),
        (
            r"\bspam\b|unsolicited|junk|bulk|content rejected|policy reasons",
            "The server takes the message for spam or against its rules.",
            _OTHER_POSTMASTER,
        ),
        (
            r"\breputation\b",
            "The server thinks badly of the sending host's address or domain.",
            "Look for abuse in the own mail flow, and ask that server's administrator.",
        ),
        (
            r"bare (?:<?lf>?|<?cr>?|newline|line ?feed)|line endings?",
            "The message has lines that do not end as SMTP wants.",
            _OWN_POSTMASTER,
        ),
        (
            r"(?:sender|from) (?:address )?(?:rejected|not owned)|not owned by user|address is not yours",
            "The server does not accept this sender's address.",
            "Correct the sender in the mail program.",
        ),
        (
            r"domain (?:not found|does ?n[o']t exist)|\bnxdomain\b|host (?:or domain )?(?:name )?not found",
            "The domain does not exist in DNS.",
            _CHECK_ADDRESS,
        ),
        (
            r"timed? ?out|connection (?:refused|reset|lost|closed)|no route|unreachable",
            "The receiving host could not be reached, or the connection broke.",
            _LATER,
        ),
    )
)

_REPLY = re.compile(
    r"\s*([2-5]\d\d)?(?:[ -]|\Z)?\s*(?:#?([245]\.\d{1,3}\.\d{1,3})(?:[ :-]+|\Z))?(.*)", re.DOTALL
)

TEXT_LIMIT = 4000
"""Characters of a reply that are looked at."""


def explain(reply: str) -> Explained:
    """What a reply means, given as a server says it: `550 5.1.1 No such user`, `5.7.1`, or only a text."""
    match = _REPLY.match(reply[:TEXT_LIMIT])
    assert match is not None  # every part of the pattern is optional
    code = int(match[1]) if match[1] else 0
    enhanced = match[2] or ""
    text = match[3].strip()
    by_text = None
    if not 200 <= code < 400:
        by_text = next((meaning for pattern, meaning in _TEXTS if pattern.search(text)), None)
    return Explained(code, enhanced, text, _by_code(code), _by_enhanced(enhanced), by_text)


def _by_code(code: int) -> Meaning | None:
    return (REPLY_CODES.get(code) or CLASSES.get(str(code // 100))) if code else None


def _by_enhanced(enhanced: str) -> Meaning | None:
    if not enhanced or enhanced.endswith(".0.0"):
        return None
    kind, subject, detail = enhanced.split(".")
    if kind == "2":
        return SUCCESS_CODES.get(f"{subject}.{detail}")
    return (
        ENHANCED_CODES.get(f"{subject}.{detail}") or ENHANCED_CODES.get(f"{subject}.0") or CLASSES.get(kind)
    )
