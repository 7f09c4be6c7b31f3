"""The state of one IMAP session beyond the protocol's: who is logged in, and which mailbox is open."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from posthouse.access import places
from posthouse.access.imap.binary import Decoding
from posthouse.access.imap.sections import Structures
from posthouse.access.imap.selected import URLMECH, OwnChange, Selected
from posthouse.access.services import Services
from posthouse.protocol.imap.enabled import Enabled
from posthouse.protocol.imap.notifying import Event
from posthouse.protocol.imap.server import Result
from posthouse.store import urlkeys

if TYPE_CHECKING:
    from posthouse.db import Reader, Tx
    from posthouse.mail.envelope import AccountId

T = TypeVar("T")
Put: TypeAlias = "dict[tuple[AccountId, int], set[int]]"
"""UIDs of messages by account and UIDVALIDITY of their mailbox."""


class RightsLost(Exception):
    """The selected mailbox may no longer be read."""


class User:
    """A user logged in, at one session."""

    __slots__ = (
        "account", "caused", "decoding", "enabled", "login", "own_uids", "progress", "put_elsewhere",
        "selected", "services", "structures", "told",
    )  # fmt: skip

    def __init__(self, services: Services, account: AccountId, login: str, enabled: Enabled) -> None:
        """`login`: the address of the account. `enabled`: what the client has turned on, and still may."""
        self.login = login
        self.enabled = enabled
        self.services = services
        self.account = account
        self.selected: Selected | None = None
        self.progress: tuple[int, int] | None = None
        """Messages that the command in hand has looked at, and has to look at, where it counts them."""
        self.told: frozenset[Event] | None = None
        """What is told unasked of the selected mailbox; None: everything, for NOTIFY has not been said."""
        self.caused: set[str] | None = None
        """Names of mailboxes that commands of this session have changed, for NOTIFY (RFC 5465 §5); None: it
        tells of none."""
        self.own_uids: set[int] = set()
        """Messages that commands of this session have put into the selected mailbox, for NOTIFY."""
        self.put_elsewhere: Put = {}
        """The same of other mailboxes."""
        self.structures = Structures()
        self.decoding = Decoding()

    @property
    def open(self) -> Selected:
        """The selected mailbox; the protocol core lets no command that needs one through without."""
        assert self.selected is not None
        return self.selected

    async def read(self, fn: Callable[[Reader], T]) -> T:
        """What `fn` finds, read on the loop: for what takes well under a millisecond."""
        return await self.services.database.read(fn, point=True)

    async def read_much(self, fn: Callable[[Reader], T]) -> T:
        """What `fn` finds, read by another thread."""
        return await self.services.database.read(fn)

    async def write(self, closure: Callable[[Tx], T], *others: AccountId, long: bool = False) -> T:
        """What `closure` returns once it is durable. It may touch the accounts `others` too."""
        return await self.services.database.write([self.account, *others], closure, long=long)

    def tell(self, modseq: int, account: AccountId | None = None) -> None:
        """Let other sessions know of a change: in this account, or another."""
        self.services.notifier.changed(self.account if account is None else account, modseq)

    async def look_at_rights(self) -> bytes:
        """Look again what may be done in the selected mailbox, where it is another's; what to say of it.

        Raises RightsLost.
        """
        selected = self.selected
        if selected is None or selected.account == self.account:
            return b""
        account, mailbox = selected.account, selected.mailbox
        rights = await self.read(lambda reader: places.held(reader, self, account, mailbox))
        if rights == selected.rights:
            return b""
        if "r" not in rights:
            raise RightsLost
        selected.rights = rights
        return selected.flag_lines()  # RFC 4314 §5.1.1

    def has_changed(self, *names: str) -> None:
        """A command of this session has changed mailboxes of these names, the empty one for the server."""
        if self.caused is not None:
            self.caused.update(names)

    def has_put(self, account: AccountId, uidvalidity: int, uids: Iterable[int]) -> None:
        """A command of this session has put messages into a mailbox."""
        if self.caused is None:
            return
        selected, mailbox = self.selected, (account, uidvalidity)
        if selected is not None and (selected.account, selected.view.mailbox.uidvalidity) == mailbox:
            self.own_uids.update(uids)
        else:
            self.put_elsewhere.setdefault(mailbox, set()).update(uids)

    @property
    def hears_nothing(self) -> bool:
        """The client wants to be told nothing unasked (RFC 5465 §3.1)."""
        return self.told is not None and not self.told

    async def news(self, *, expunges: bool, own: OwnChange | None = None) -> bytes:
        """Untagged responses for what has changed in the selected mailbox, nothing where none is.

        A client that wants to be told nothing unasked (RFC 5465 §5) keeps the view it has, unless there is
        something of its `own` in it.
        """
        if self.selected is None or (own is None and self.hears_nothing):
            return b""
        selected = self.selected
        said = await selected.news(self, expunges=expunges, own=own)
        return said + await self._news_of_urls(selected) if selected.changed_otherwise else said

    async def _news_of_urls(self, selected: Selected) -> bytes:
        """What is said once RESETKEY has made a new key for the selected mailbox (RFC 4467 §7)."""
        account, mailbox, since = selected.account, selected.mailbox, selected.keys_as_of
        selected.changed_otherwise, selected.keys_as_of = False, selected.view.mailbox.modseq
        renewed = await self.read(lambda reader: urlkeys.renewed(reader, self.account, account, mailbox))
        return NEW_URL_KEY if renewed > since else b""


def completed(name: str, code: str = "", untagged: bytes = b"") -> Result:
    return Result("OK", f"{name} completed", code, untagged)


NEW_URL_KEY = f"* OK [{URLMECH}] URLs of its messages have to be signed anew\r\n".encode()

CLOSED = b"* OK [CLOSED] The mailbox selected before is closed\r\n"
"""RFC 7162 §3.2.11: what follows is of another mailbox."""

LOST = Result("BYE", "You may no longer read this mailbox")  # RFC 4314 §5.1.1
GONE = Result("BYE", "The mailbox has been deleted")
READ_ONLY = Result("NO", "The mailbox is open read-only", "NOPERM")
BAD_SET = Result("BAD", "There is no message with such a number")
UNKNOWN_ENCODING = Result("NO", "A part has an unknown transfer encoding", "UNKNOWN-CTE")
"""RFC 3516 §4.3, of a part that cannot be decoded, or a message that cannot be kept."""

EXPUNGED = Result("NO", "Some of the messages have been expunged", "EXPUNGEISSUED")
