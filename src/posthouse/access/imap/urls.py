"""What IMAP URLs name: octets of messages that the user may read (RFC 5092)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from posthouse.access.imap.sections import Pieces, cut_ranges
from posthouse.access.imap.state import User
from posthouse.access.places import Place, find, place
from posthouse.mail import section
from posthouse.protocol.imap.url import BadUrl, MessageUrl
from posthouse.store import mailboxes, read
from posthouse.store.content import from_row
from posthouse.store.mailboxes import Mailbox, MailboxError
from posthouse.store.read import Column, Message

if TYPE_CHECKING:
    from posthouse.access.services import Services
    from posthouse.db import Reader
    from posthouse.mail.envelope import AccountId

_COLUMNS = (
    Column.UID,
    Column.EMAIL,
    Column.PREFIX,
    Column.CONTENT_SIZE,
    Column.HEAD,
    Column.BLOB,
    Column.BODY,
)


def of_this_server(services: Services, url: MessageUrl) -> None:
    """Raises BadUrl for a URL of another server."""
    if url.host.partition(":")[0] not in ("", services.hostname.lower()):
        raise BadUrl("it is of another server")


async def named(user: User, url: MessageUrl) -> Pieces:
    """The octets that a URL names. Raises BadUrl where there are none, or they are another's."""
    if not url.mailbox and user.selected is None:
        raise BadUrl("no mailbox is named, and none is selected")
    at = await _place(user, url.mailbox) if url.mailbox else None

    def query(reader: Reader) -> list[tuple[Any, ...]]:
        account, mailbox = _mailbox(reader, user, at)
        if url.uidvalidity not in (None, mailbox.uidvalidity):
            raise BadUrl("UIDVALIDITY is another one")
        return read.fetch(reader, account, mailbox.id, ((url.uid, url.uid),), _COLUMNS)

    rows = await user.read(query)
    if not rows:
        raise BadUrl("there is no such message")
    _, email, prefix, *columns = rows[0]
    message = Message(prefix, from_row(user.services.blobs, *columns))
    if not any(url.section):
        return Pieces(message, cut_ranges([(0, message.size)], url.partial))
    found = section.ranges(await user.structures.of(email, message), url.section)
    if found is None:
        raise BadUrl("the message has no such part")
    return Pieces(message, cut_ranges(found, url.partial))


async def _place(user: User, name: str) -> Place:
    try:
        return await place(user, name)
    except MailboxError as problem:
        raise BadUrl(str(problem)) from None


def _mailbox(reader: Reader, user: User, at: Place | None) -> tuple[AccountId, Mailbox]:
    """Whose mailbox is meant, and which: the one at a place, or the selected one."""
    if at is None:
        account = user.open.account
        mailbox = mailboxes.find_id(reader, account, user.open.mailbox)
        if mailbox is None:
            raise BadUrl("there is no such mailbox")
        return account, mailbox
    try:
        found = find(reader, user, at, "r")
    except MailboxError as problem:
        raise BadUrl(str(problem)) from None
    return found.account, found.mailbox
