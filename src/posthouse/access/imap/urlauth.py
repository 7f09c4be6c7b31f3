"""URLs that let others have a message, or a part of one (RFC 4467), and what submission makes of them (4468).

Who gives such a URL away signs it with his key for the mailbox, which never leaves the server. It conveys
what he himself may read at the time when it is used, to those whom it names, until it expires or he takes
the key back. The first octet of a token says how it was made, so that there can be other ways later.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from posthouse.access.imap.messages import owner
from posthouse.access.imap.sections import Pieces
from posthouse.access.imap.selected import URLMECH
from posthouse.access.imap.state import GONE, LOST, RightsLost, User, completed
from posthouse.access.imap.urls import named, of_this_server
from posthouse.access.places import find, place
from posthouse.accounts import account as accounts
from posthouse.accounts import usage
from posthouse.accounts.account import State
from posthouse.db import DatabaseError
from posthouse.mail.address import AddressError, canonical, parse_address
from posthouse.mail.reply import (
    URL_NOT_AUTHORIZED,
    URL_NOT_RESOLVED,
    URL_OF_ANOTHER_SERVER,
    Reply,
)
from posthouse.net.session import Stream
from posthouse.protocol.imap import commands
from posthouse.protocol.imap.enabled import Enabled
from posthouse.protocol.imap.events import TRY_LATER, Result
from posthouse.protocol.imap.syntax import quoted
from posthouse.protocol.imap.url import Access, AuthorizedUrl, BadUrl, parse_authorized_url, parse_url
from posthouse.store import mailboxes, urlkeys
from posthouse.store.mailboxes import MailboxError, MailboxNotFound

if TYPE_CHECKING:
    from posthouse.access.services import Services
    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId

INTERNAL = "INTERNAL"
_HMAC_SHA256 = b"\1"


class NotAuthorized(BadUrl):
    """The URL conveys nothing to this user, now."""


def sign(key: bytes, rump: str) -> str:
    """The token of a URL (RFC 4467 §2.5): in hexadecimal, the algorithm and what it yields."""
    return (_HMAC_SHA256 + hmac.digest(key, rump.encode(), hashlib.sha256)).hex()


# GENURLAUTH, RESETKEY


async def generate(user: User, command: commands.GenUrlAuth) -> Result:
    """GENURLAUTH (RFC 4467 §7): each URL signed, or none."""
    if any(mechanism != INTERNAL for _, mechanism in command.urls):
        return Result("NO", f"The only mechanism is {INTERNAL}", URLMECH)
    try:
        urls = [_own(user, text) for text, _ in command.urls]
        signed = [await _signed(user, url) for url in urls]
    except (BadUrl, MailboxError) as problem:
        return Result("BAD", f"Cannot sign the URL: {problem}")
    line = b"* GENURLAUTH " + b" ".join(quoted(url.encode()) for url in signed) + b"\r\n"
    return completed("GENURLAUTH", untagged=line + await user.news(expunges=True))


def _own(user: User, text: str) -> AuthorizedUrl:
    """The URL, if the user may sign it. Raises BadUrl."""
    url = parse_authorized_url(text)
    if url.mechanism:
        raise BadUrl("it is signed already")
    of_this_server(user.services, url.message)
    if url.message.user.lower() != user.login.lower():
        raise BadUrl("it is of another user")
    return url


async def _signed(user: User, url: AuthorizedUrl) -> str:
    """Raises Missing, NoPermission, BadMailboxName."""
    at = await place(user, url.message.mailbox)

    def known(reader: Reader | Tx) -> tuple[AccountId, int, bytes | None]:
        found = find(reader, user, at, "r")
        key = urlkeys.find(reader, user.account, found.account, found.mailbox.id)
        return found.account, found.mailbox.id, key

    _, _, key = await user.read(known)
    if key is None:
        fresh = secrets.token_bytes(urlkeys.KEY_OCTETS)

        def make(tx: Tx) -> bytes:
            account, mailbox, key = known(tx)
            if key is None:
                urlkeys.put(tx, user.account, account, mailbox, fresh)
            return key or fresh

        key = await user.write(make, *owner(at))
    return f"{url.rump}:{INTERNAL.lower()}:{sign(key, url.rump)}"


async def reset_key(user: User, command: commands.ResetKey) -> Result:
    """RESETKEY (RFC 4467 §7): what was signed with the old key is worth nothing any more."""
    if command.mailbox is None:
        every = await user.read(lambda reader: urlkeys.every(reader, user.account))
        for account, mailbox in every:
            await _renew(user, account, mailbox)
        return completed("RESETKEY", untagged=await user.news(expunges=True))
    if any(mechanism != INTERNAL for mechanism in command.mechanisms):
        return Result("NO", f"The only mechanism is {INTERNAL}", URLMECH)
    at = await place(user, command.mailbox)
    found = await user.read(lambda reader: find(reader, user, at, "r"))
    await _renew(user, found.account, found.mailbox.id)
    return completed("RESETKEY", URLMECH, await user.news(expunges=True))


async def _renew(user: User, account: AccountId, mailbox: int) -> None:
    """Give the user a new key for a mailbox; his sessions that have it open are told (`news`)."""
    fresh = secrets.token_bytes(urlkeys.KEY_OCTETS)

    def renew(tx: Tx) -> int:
        if mailboxes.find_id(tx, account, mailbox) is None:
            return 0  # deleted this moment
        modseq = usage.advance(tx, account)
        mailboxes.touch(tx, account, mailbox, modseq)
        urlkeys.put(tx, user.account, account, mailbox, fresh, modseq)
        return modseq

    user.tell(await user.write(renew, account), account)


# URLFETCH


def fetch(user: User, command: commands.UrlFetch) -> Stream:
    """URLFETCH (RFC 4467 §7): the octets that each URL conveys, NIL for those that convey nothing."""
    stream = Stream(())
    stream.pieces = _fetched(user, command.urls, stream)
    return stream


async def _fetched(user: User, urls: tuple[str, ...], stream: Stream) -> AsyncIterator[bytes]:
    try:
        changed_rights = await user.look_at_rights()
        if changed_rights:
            yield changed_rights
        for text in urls:
            yield b"* URLFETCH %b " % quoted(text.encode())
            try:
                pieces = await _conveyed(user, text)
            except BadUrl:
                yield b"NIL\r\n"
                continue
            yield b"{%d}\r\n" % pieces.size
            async for octets in pieces.read():
                yield octets
            yield b"\r\n"
        stream.then = completed("URLFETCH", untagged=await user.news(expunges=True))
    except RightsLost:
        stream.then = LOST
    except MailboxNotFound:
        stream.then = GONE
    except DatabaseError:
        stream.then = TRY_LATER


async def _conveyed(user: User, text: str) -> Pieces:
    """Raises BadUrl."""
    url = parse_authorized_url(text)
    of_this_server(user.services, url.message)
    allowed = {
        Access.SUBMIT: False,  # only to the submission server, which comes another way
        Access.USER: url.only.lower() == user.login.lower(),
        Access.AUTHUSER: True,
        Access.ANONYMOUS: True,
    }
    return await _read(user.services, url, allowed=allowed[url.access])


async def _read(services: Services, url: AuthorizedUrl, *, allowed: bool) -> Pieces:
    """What the URL conveys, where its bearer is `allowed`. Raises NotAuthorized, BadUrl."""
    giver = await _user(services, url.message.user)
    # RFC 4467 §6: with a key that is nobody's, so that nothing can be learned from the time it takes
    key = await _key(giver, url) if giver is not None else None
    good = hmac.compare_digest(sign(key or secrets.token_bytes(urlkeys.KEY_OCTETS), url.rump), url.token)
    if not (good and allowed and giver is not None and url.mechanism == INTERNAL):
        raise NotAuthorized("it is not authorized")
    if url.expires is not None and services.clock.now() > url.expires:
        raise NotAuthorized("it has expired")
    return await named(giver, url.message)


async def _user(services: Services, login: str) -> User | None:
    """A user as he would be in a session of his own; None where there is none."""
    try:
        address = canonical(parse_address(login))
    except AddressError:
        return None
    account = await services.database.read(lambda reader: accounts.find(reader, address), point=True)
    if account is None or account.state is not State.ACTIVE:
        return None
    return User(services, account.id, account.address, Enabled())


async def _key(user: User, url: AuthorizedUrl) -> bytes | None:
    try:
        at = await place(user, url.message.mailbox)

        def query(reader: Reader) -> bytes | None:
            found = find(reader, user, at, "r")
            return urlkeys.find(reader, user.account, found.account, found.mailbox.id)

        return await user.read(query)
    except MailboxError:
        return None


# BURL


async def for_submission(services: Services, login: str, text: str) -> Pieces | Reply:
    """What a URL brings to a letter that `login` submits (RFC 4468 §3.3), or why nothing.

    Of his own mail any URL will do, and of anybody's one that is signed for him.
    """
    try:
        signed = ";urlauth=" in text.lower()
        url = parse_authorized_url(text) if signed else None
        message = url.message if url is not None else parse_url(text)
        if not message.host:
            return URL_NOT_RESOLVED
        try:
            of_this_server(services, message)
        except BadUrl:
            return URL_OF_ANOTHER_SERVER
        if url is not None:
            return await _read(services, url, allowed=_is_for(url, login))
        submitter = await _user(services, login)
        if submitter is None or message.user.lower() not in ("", login.lower()):
            return URL_NOT_AUTHORIZED
        return await named(submitter, message)
    except NotAuthorized:
        return URL_NOT_AUTHORIZED
    except BadUrl:
        return URL_NOT_RESOLVED


def _is_for(url: AuthorizedUrl, login: str) -> bool:
    return url.access in (Access.AUTHUSER, Access.ANONYMOUS) or url.only.lower() == login.lower()
