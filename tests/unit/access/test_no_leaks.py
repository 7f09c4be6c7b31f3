"""No answer tells one account what another holds: every command, with every way to name a mailbox.

Bob's mail carries a word that is nowhere else. Eve, who has no rights (or too few), says every command of
the table with every name that could reach it. The word must not come back, and where she lacks the right
`l` all answers are the same whether the mailbox, or the account, is there or not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from posthouse.protocol.imap.verbs import VERBS
from posthouse.protocol.pop3.verbs import VERBS as POP3_VERBS
from tests.servers import PATIENCE
from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import LETTER, Client

only_sqlite = pytest.mark.parametrize("engine", ["sqlite"])
"""What is looked at are decisions, not the database."""

SECRET = "xq7secretqx"
_HEAD = f"From: {SECRET}@example.net\r\nSubject: {SECRET}\r\nMessage-ID: <{SECRET}@x>\r\n"
MAIL = f"{_HEAD}\r\n{SECRET}\r\n".encode()
BOX = "Hidden1"
THERE = f"Other Users/bob@example.org/{BOX}"
TWINS = (
    "Other Users/bob@example.org/Nothing",
    f"Other Users/nobody@example.org/{BOX}",
    f"Other Users/bob@example.net/{BOX}",
    f"Other Users/bob@example.org/{BOX}/Deeper",
    f"Shared/bob@example.org/{BOX}",
    "Shared/bob@example.org/Nothing",
)
"""Names of what is not there, or not so."""

PATTERNS = (
    "*",
    "%",
    "Other Users*",
    "Other Users/%",
    "Other Users/bob@example.org/%",
    "Shared/*",
    f"*{BOX}*",
)

MESSAGE = "{12+}\r\nSubject: x\r\n"
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "CAPABILITY": ("",),
    "NOOP": ("",),
    "LOGOUT": ("",),
    "ID": (" NIL",),
    "STARTTLS": ("",),
    "AUTHENTICATE": (" PLAIN Ym9iAGV2ZQBzZWNyZXQ=",),
    "LOGIN": (" bob wrong",),
    "UNAUTHENTICATE": ("",),
    "COMPRESS": (" LZW",),
    "LANGUAGE": ("", " en"),
    "COMPARATOR": ("", " i;octet"),
    "ENABLE": (" QRESYNC IMAP4rev2 UTF8=ACCEPT",),
    "NAMESPACE": ("",),
    "SELECT": (" {box}", " {box} (QRESYNC (1 1))"),
    "EXAMINE": (" {box}", " {box} (CONDSTORE)"),
    "CREATE": (" {box}", " {box} (USE (\\Archive))"),
    "DELETE": (" {box}",),
    "RENAME": (" {box} Mine", " Drafts {box}", " {box} {box}2"),
    "SUBSCRIBE": (" {box}",),
    "UNSUBSCRIBE": (" {box}",),
    "LIST": (
        ' "" {box}',
        ' {box} ""',
        ' "" {pattern}',
        ' (SUBSCRIBED RECURSIVEMATCH) "" {pattern}',
        ' (SPECIAL-USE) "" {pattern}',
        ' "" ({pattern}) RETURN (SUBSCRIBED CHILDREN MYRIGHTS STATUS (MESSAGES MAILBOXID)'
        " METADATA (DEPTH infinity) (/private /shared))",
    ),
    "LSUB": (' "" {pattern}', ' "" {box}'),
    "STATUS": (" {box} (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN SIZE HIGHESTMODSEQ MAILBOXID)",),
    "GETMETADATA": (" {box} /shared/comment", " (DEPTH infinity) {box} (/shared /private)", ' "" /private/x'),
    "SETMETADATA": (' {box} (/shared/comment "x")', ' {box} (/private/comment "x")'),
    "SETACL": (" {box} eve@example.org lrswipkxtea", " {box} anyone lr"),
    "DELETEACL": (" {box} anyone",),
    "GETACL": (" {box}",),
    "LISTRIGHTS": (" {box} eve@example.org",),
    "MYRIGHTS": (" {box}",),
    "GETQUOTA": (' ""', " bob@example.org", " nobody@example.org"),
    "GETQUOTAROOT": (" {box}",),
    "GENURLAUTH": (
        ' "imap://eve%40example.org@mail.example.org/{raw}/;UID=1;URLAUTH=anonymous" INTERNAL',
        ' "imap://bob%40example.org@mail.example.org/{raw}/;UID=1;URLAUTH=anonymous" INTERNAL',
    ),
    "RESETKEY": (" {box}", ""),
    "URLFETCH": (
        f' "imap://bob%40example.org@mail.example.org/{{raw}}/;UID=1;URLAUTH=anonymous:internal:{"01" * 33}"',
        f' "imap://eve%40example.org@mail.example.org/{{raw}}/;UID=1;URLAUTH=anonymous:internal:{"01" * 33}"',
        ' "imap://eve%40example.org@mail.example.org/{raw}/;UID=1"',
    ),
    "APPEND": (
        f" {{box}} {MESSAGE}",
        f" {{box}} (\\Seen) {MESSAGE} {MESSAGE}",
        ' INBOX CATENATE (URL "/{raw};UIDVALIDITY=1/;UID=1")',
        ' INBOX CATENATE (URL "/{raw}/;UID=1/;SECTION=TEXT" TEXT {1+}\r\nx)',
        ' INBOX CATENATE (URL "imap://bob%40example.org@mail.example.org/{raw}/;UID=1")',
    ),
    "NOTIFY": (
        " SET STATUS (mailboxes {box} (MessageNew MessageExpunge FlagChange))",
        ' SET STATUS (subtree {box} (MessageNew MessageExpunge)) (subtree "Other Users" (MailboxName))',
        " SET (mailboxes {box} (MailboxMetadataChange)) (subtree {box} (MailboxName ServerMetadataChange))",
        " SET STATUS (personal (MessageNew MessageExpunge)) (subscribed (MailboxName SubscriptionChange))",
    ),
    "IDLE": ("\r\nDONE",),
    "CHECK": ("",),
    "CLOSE": ("",),
    "UNSELECT": ("",),
    "EXPUNGE": ("", " 1:*"),
    "SEARCH": (
        " RETURN (UPDATE (UID ENVELOPE) COUNT) TEXT {word}",
        " RETURN (SAVE) FILTER his",
        " TEXT {word}",
        " SUBJECT {word}",
        " EMAILID {email}",
        " THREADID {thread}",
        " UID 1:*",
    ),
    "ESEARCH": (
        " IN (mailboxes {box}) TEXT {word}",
        " IN (subtree-one {box}) RETURN (COUNT) ALL",
        ' IN (subtree "Other Users") RETURN (ALL) ALL',
        " IN (personal) TEXT {word}",
        " IN (subscribed) ALL",
        " IN (mailboxes {box}) RETURN (UPDATE COUNT) 1:*",
        " RETURN (SAVE) 1:*",
    ),
    "SORT": (" (SUBJECT) UTF-8 TEXT {word}", " RETURN (COUNT) (ARRIVAL) UTF-8 ALL"),
    "CANCELUPDATE": (' "t1"',),
    "THREAD": (" REFERENCES UTF-8 TEXT {word}", " ORDEREDSUBJECT UTF-8 ALL"),
    "FETCH": (
        " 1:* (UID ENVELOPE BODYSTRUCTURE BODY.PEEK[] EMAILID THREADID SAVEDATE PREVIEW)",
        " 1:* (BINARY.PEEK[1])",
    ),
    "STORE": (" 1:* +FLAGS (\\Flagged $New)",),
    "COPY": (" 1 {box}",),
    "REPLACE": (f" 1 {{box}} {MESSAGE}",),
    "MOVE": (" 1 {box}",),
}


def test_every_command_is_tried() -> None:
    assert set(ARGUMENTS) == {verb.name for verb in VERBS}


@pytest.fixture
async def bob(server: Server) -> AsyncIterator[Client]:
    async with Client(server) as client:
        await client.do(f"CREATE {BOX}")
        for box in (BOX, "INBOX", "Sent"):
            for _ in range(2):
                await server.deliver(MAIL, box)
            await client.do(f'SETMETADATA {box} (/shared/comment "{SECRET}" /private/comment "{SECRET}")')
        await client.do(f"SELECT {BOX}")
        await client.do(f"STORE 1 +FLAGS (${SECRET})")
        yield client


async def state(client: Client) -> list[list[str]]:
    """What Bob has."""
    boxes = ("INBOX", BOX, "Sent")
    found = [await client.do(f"STATUS {box} (MESSAGES UIDNEXT HIGHESTMODSEQ)") for box in boxes]
    return [*found, await client.do('LIST "" *'), await client.do(f"GETACL {BOX}")]


class Eve:
    """Says commands in sessions of her own, each with INBOX selected and a letter in it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def says(self, command: str, *, selecting: str = "INBOX") -> str:
        """The whole answer, without tags."""
        await self._server.deliver(LETTER, account=2)
        async with Client(self._server, "eve") as client:
            if selecting:
                await client.do(f"SELECT {selecting}")
            try:
                return "\n".join(await client.do(command))
            except asyncio.IncompleteReadError as ended:
                return ended.partial.decode()


def commands(box: str, word: str, email: str, thread: str) -> list[str]:
    """Every command with every form of arguments, about one mailbox."""
    found = []
    for verb in VERBS:
        for arguments in ARGUMENTS[verb.name]:
            for pattern in PATTERNS if "{pattern}" in arguments else ("",):
                text = arguments
                for name, value in {
                    "{box}": f'"{box}"',
                    "{raw}": in_url(box),
                    "{pattern}": f'"{pattern}"',
                    "{word}": word,
                    "{email}": email,
                    "{thread}": thread,
                }.items():
                    text = text.replace(name, value)
                found.append(verb.name + text)
                if verb.uid:
                    found.append(f"UID {verb.name}{text}")
    return found


def in_url(name: str) -> str:
    return name.replace(" ", "%20").replace("@", "%40")


VOLATILE = re.compile(r"\d+")


async def ids(bob: Client) -> tuple[str, str]:
    """EMAILID and THREADID of one of Bob's messages."""
    await bob.do(f"EXAMINE {BOX}")
    line = (await bob.do("FETCH 1 (EMAILID THREADID)"))[0]
    email, thread = re.findall(r"ID \((\w+)\)", line)
    return email, thread


@only_sqlite
async def test_without_rights_every_answer_is_as_if_nothing_were_there(server: Server, bob: Client) -> None:
    # given
    eve = Eve(server)
    email, thread = await ids(bob)
    await state(bob)  # after which what it says changes only if something does
    before = await state(bob)
    # when
    for number, command in enumerate(commands(THERE, SECRET, email, thread)):
        answer = await eve.says(command)
        # then
        assert SECRET not in answer.replace(command, ""), command
        assert BOX not in without(answer, THERE), command
        for twin in TWINS:
            other = commands(twin, "nosuchword", "M1234567", "T1234567")[number]
            if other == command:
                break
            same = await eve.says(other)
            assert plain(same, twin) == plain(answer, THERE), (command, other)
    assert await state(bob) == before


def plain(answer: str, name: str) -> str:
    """An answer without the name that was asked for, and without numbers that count Eve's own mail."""
    return VOLATILE.sub("0", without(answer, name).replace("nosuchword", SECRET))


def without(answer: str, name: str) -> str:
    """An answer without the name that Eve has said herself."""
    for form in (name, in_url(name), name.partition("/")[0]):
        answer = answer.replace(form, "NAME")
    return answer


@only_sqlite
@pytest.mark.parametrize("rights", ["l", "lips", "lkxa"])
async def test_without_the_right_to_read_no_mail_is_told(server: Server, bob: Client, rights: str) -> None:
    eve = Eve(server)
    email, thread = await ids(bob)
    for command in commands(THERE, SECRET, email, thread):
        if command.startswith(("SETACL", "DELETE ", "RENAME", "DELETEACL")):
            continue  # which would be hers to do
        await bob.do(f"SETACL {BOX} eve {rights}")
        answer = (await eve.says(command)).replace(command, "")
        if "METADATA" in command and rights == "lips":
            continue  # RFC 5464 §3.3: annotations may be read with one of these
        assert SECRET not in answer, command


@only_sqlite
async def test_in_a_shared_mailbox_the_others_are_out_of_reach(server: Server, bob: Client) -> None:
    # given a mailbox of Bob's that Eve may read and write, and in it no secret
    await bob.do("CREATE Open")
    await server.deliver(LETTER, "Open")
    email, thread = await ids(bob)
    eve = Eve(server)
    open_box = '"Other Users/bob@example.org/Open"'
    for command in commands(THERE, SECRET, email, thread):
        await bob.do("SETACL Open eve lrswite")
        answer = (await eve.says(command, selecting=open_box)).replace(command, "")
        assert SECRET not in answer, command
        assert BOX not in without(answer, THERE), command
    # the numbers of mailboxes are each account's own: none of hers may be taken for one of his
    assert (await bob.do(f"STATUS {BOX} (MESSAGES)"))[0] == f'* STATUS "{BOX}" (MESSAGES 2)'


async def pop3_says(server: Server, mailbox: str, command: str) -> str:
    """All that is said in a session of Eve's with one command."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.pop3_port)
    writer.write(f"USER eve@example.org{mailbox}\r\nPASS secret\r\n{command}\r\nQUIT\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said.decode()


@only_sqlite
async def test_pop3_knows_only_ones_own_mail(server: Server, bob: Client) -> None:
    await server.deliver(LETTER, account=2)
    arguments = ("", " 1", " 2", " 1 5")
    for command in [verb.name + argument for verb in POP3_VERBS for argument in arguments]:
        answers = {
            name: await pop3_says(server, name, command)
            for name in ("", f"/{THERE}", *(f"/{twin}" for twin in TWINS), f"/{BOX}", "/Nothing")
        }
        for answer in answers.values():
            assert SECRET not in answer, command
            assert BOX not in answer, command
        # Bob's mailboxes are as little there as any other
        assert len({answer for name, answer in answers.items() if name}) == 1, command


@only_sqlite
@pytest.mark.parametrize("rights", ["l", "lips", "lkxa"])
async def test_pop3_tells_no_mail_without_the_right_to_read(server: Server, bob: Client, rights: str) -> None:
    await bob.do(f"SETACL {BOX} eve {rights}")
    for command in ("STAT", "LIST", "UIDL", "RETR 1", "TOP 1 5"):
        answer = await pop3_says(server, f"/{THERE}", command)
        assert "[SYS/PERM] You have no permission" in answer
        assert SECRET not in answer, command
        assert "+OK Maildrop" not in answer, command
