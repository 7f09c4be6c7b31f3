"""What IMAP URLs name: octets of messages in the user's own mailboxes (RFC 5092)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from posthouse.access.imap.sections import Pieces, cut_ranges
from posthouse.access.imap.state import User
from posthouse.mail import section
from posthouse.protocol.imap.url import BadUrl, MessageUrl
from posthouse.store import mailboxes, read
from posthouse.store.content import from_row
from posthouse.store.mailboxes import MailboxError, canonical_name
from posthouse.store.read import Column, Message

if TYPE_CHECKING:
    from posthouse.db import Reader

_COLUMNS = (
    Column.UID,
    Column.EMAIL,
    Column.PREFIX,
    Column.CONTENT_SIZE,
    Column.HEAD,
    Column.BLOB,
    Column.BODY,
)


async def named(user: User, url: MessageUrl) -> Pieces:
    """The octets that a URL names. Raises BadUrl where there are none, or they are another's."""
    account = user.account
    if not url.mailbox and user.selected is None:
        raise BadUrl("no mailbox is named, and none is selected")

    def query(reader: Reader) -> list[tuple[Any, ...]]:
        if url.mailbox:
            mailbox = mailboxes.find(reader, account, _canonical(url.mailbox))
        else:
            mailbox = mailboxes.find_id(reader, account, user.open.mailbox)
        if mailbox is None:
            raise BadUrl("there is no such mailbox")
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


def _canonical(name: str) -> str:
    try:
        return canonical_name(name)
    except MailboxError as problem:
        raise BadUrl(str(problem)) from None
