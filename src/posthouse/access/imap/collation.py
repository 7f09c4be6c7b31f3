"""SEARCH, SORT and THREAD by another comparator than the default (RFC 5255 §4).

All that is kept of messages is folded by the default comparator, which finds whatever the others do, and
more. So it narrows the messages down, and those that are left are read as they are written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from posthouse.mail import imapread
from posthouse.mail.collation import DEFAULT
from posthouse.mail.header import HeaderIndex, field_value_text
from posthouse.mail.subjects import base_subject
from posthouse.mail.text import read_body_text
from posthouse.protocol.imap.searching import Compared, InHeader, InText
from posthouse.protocol.imap.sorting import By
from posthouse.store import read
from posthouse.store.fulltext import headers_text
from posthouse.store.read import Column
from posthouse.store.uids import ranges_of

if TYPE_CHECKING:
    from posthouse.access.imap.selected import Selected
    from posthouse.access.imap.state import User
    from posthouse.mail.mime import Part
    from posthouse.store.read import Message

_BATCH = 1000


def _local(field: int) -> Callable[[bytes], str]:
    return lambda envelope: imapread.first_local(envelope, field).decode("utf-8", "replace")


def _subject(envelope: bytes) -> str:
    return base_subject(field_value_text(imapread.text(envelope, imapread.SUBJECT)), folded=False).text


_TEXTS: dict[By, Callable[[bytes], str]] = {
    By.SUBJECT: _subject,
    By.FROM: _local(imapread.FROM),
    By.TO: _local(imapread.TO),
    By.CC: _local(imapread.CC),
}
"""What is compared of an ENVELOPE (RFC 5255 §4.2)."""


async def column(user: User, selected: Selected, indexes: Sequence[int], by: By) -> list[str] | None:
    """What some messages are compared by; None where the comparator matters not, or is the default."""
    text, comparator = _TEXTS.get(by), user.enabled.comparator
    if text is None or comparator is DEFAULT:
        return None
    uids = [selected.view.uids[index] for index in indexes]
    found: dict[int, str] = {}
    envelopes = partial(
        read.fetch, account=selected.account, mailbox=selected.mailbox, columns=(Column.UID, Column.ENVELOPE)
    )
    for start in range(0, len(uids), _BATCH):
        ranges = ranges_of(sorted(uids[start : start + _BATCH]))
        for uid, envelope in await user.read_much(partial(envelopes, ranges=ranges)):
            found[uid] = comparator.form(text(envelope))
    return [found.get(uid, "") for uid in uids]


def in_header(key: Compared, header: HeaderIndex) -> bool:
    """Whether a field holds a string."""
    assert isinstance(key.key, InHeader)
    form = key.comparator.form
    sought = form(key.key.text)
    return any(sought in form(field_value_text(value)) for value in header.all(key.key.name))


async def in_message(key: Compared, head: bytes, message: Message, root: Part) -> bool:
    """Whether a message holds a string in its body, or for TEXT in headers; read piece by piece."""
    form = key.comparator.form
    sought = form(key.key.text)
    if isinstance(key.key, InText) and sought in form(await headers_text(head, root)):
        return True
    before = ""
    async for piece in read_body_text(message, root):
        text = before + form(piece)
        if sought in text:
            return True
        before = text[1 - len(sought) :] if len(sought) > 1 else ""
    return False
