"""One SMTP or LMTP session: each event of the core decided by those who know.

Policy and routing judge at each command; the letter's octets go to an intake; at the end of data the
letter gets its trace field and goes to acceptance, whose answer is the reply. What needs no look-up is
decided at once, in the same turn of the loop; the rest is awaited by the pump.

It promises: no positive reply to the end of data but acceptance's own. Port 25 neither refuses nor
repairs a missing Date or From; what a user's letter must be stands in `submission`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeAlias

from posthouse.acceptance.intake import HeadTooLong, Intake, SpooledContent
from posthouse.acceptance.letter import Letter
from posthouse.acceptance.planning import Accepted, plan
from posthouse.accounts.authentication import Answer
from posthouse.db.errors import DatabaseError, reply_to
from posthouse.inbound.service import Role, Service
from posthouse.journey import record
from posthouse.mail.envelope import Client, LetterId, Recipient, Sender
from posthouse.mail.ids import show
from posthouse.mail.received import hop_count, received_field
from posthouse.mail.reply import (
    AUTHENTICATED,
    CLOSING,
    INSUFFICIENT_STORAGE,
    LOCAL_ERROR,
    MAILBOX_FULL,
    MAILBOX_FULL_FOR_NOW,
    MESSAGE_TOO_BIG,
    READY_FOR_TLS,
    ROUTING_LOOP,
    SENDER_NOT_OWNED,
    SENDER_OK,
    START_MAIL_INPUT,
    Reply,
)
from posthouse.net.begun import begun
from posthouse.net.limits import is_this_machine
from posthouse.observe import log
from posthouse.policy.verdict import Verdict
from posthouse.protocol.sasl import Credentials, Keys, KeysWanted, Refused
from posthouse.protocol.smtp import events
from posthouse.submission.submission import LOCAL_USER

if TYPE_CHECKING:
    from posthouse.journey.record import Step
    from posthouse.net.pump import Pump
    from posthouse.protocol.smtp.server import ServerSession
    from posthouse.routing import Resolution

_log = log.get("inbound")

Decision: TypeAlias = Reply | Sequence[Reply] | None
HEAD_TOO_LONG = MESSAGE_TOO_BIG.saying("The header section is too long")
CROWDED = Reply(554, "5.6.0", "The header section has too many fields")


class SmtpSession:
    """The driver of one connection."""

    __slots__ = (
        "_accepted", "_address", "_client", "_core", "_in_letter", "_intake", "_opening", "_port", "_pump",
        "_refusal", "_sender", "_service", "_steps", "_trusted", "_user",
    )  # fmt: skip

    def __init__(self, core: ServerSession, service: Service) -> None:
        self._core = core
        self._service = service
        self._client = Client("")
        self._pump: Pump | None = None
        """Of a user who logs in."""
        self._user = ""
        self._opening: list[Step] = []
        """How the session began: the first steps of each of its letters."""
        self._steps: list[Step] = []
        self._sender = Sender(None)
        self._accepted: list[Accepted] = []
        self._intake: Intake | None = None
        self._refusal: Reply | None = None
        self._in_letter = False

    # ── what the pump calls ──────────────────────────────────────────────────────────────────────

    def connected(self, pump: Pump) -> None:
        peer = pump.peer
        service = self._service
        self._address = peer.address or "local"
        self._port = peer.port
        self._trusted = service.policy.trusts(self._address)
        now = self._now()
        self._opening.append(record.connected(now, self._address, self._port, service.name))
        if service.role is Role.SUBMISSION and is_this_machine(self._address):
            self._core.allow_auth_in_clear()
        if service.role is Role.SUBMISSION and peer.uid is None:
            self._pump = pump
            service.anteroom.enter(pump, self._core)
        elif service.role is Role.SUBMISSION:
            # The kernel vouches for him: he need not say AUTH.
            self._user = f"{LOCAL_USER}{peer.uid}"
            self._core.vouch()
            self._opening.append(record.authenticated(now, self._user))

    def handle(self, event: events.Event) -> Any:
        """The decision about an event: a temporary no while the database is away, and the session goes on."""
        try:
            decision = _HANDLERS[type(event)](self, event)
        except DatabaseError as error:
            return self._away(error, event)
        return self._awaited(decision, event) if type(decision) is CoroutineType else decision

    async def _awaited(self, decision: Awaitable[Decision], event: events.Event) -> Decision:
        try:
            return await decision
        except DatabaseError as error:
            return self._away(error, event)

    def _away(self, error: DatabaseError, event: events.Event) -> Reply:
        """RFC 5321 §4.2.3: 451, the requested action aborted."""
        _log.warning("cannot look something up", reason=str(error))
        if type(event) is events.EndOfData:
            self._forget_letter()
        return self._refused(reply_to(error), type(event).__name__.upper(), "")

    def closed(self, reason: str) -> None:
        self._service.anteroom.leave(self._pump)
        self._pump = None
        self._forget_letter()

    # ── the session ──────────────────────────────────────────────────────────────────────────────

    def _who(self) -> Client:
        """The client as it is known now; one and the same value while nothing changes."""
        core, known = self._core, self._client
        protocol = core.protocol
        if known.protocol != protocol or known.helo != core.helo or known.address != self._address:
            self._client = known = Client(
                self._address, self._port, core.helo, protocol, core.tls, self._user, self._service.name,
                self._trusted,
            )  # fmt: skip
        return known

    def _on_connected(self, _: events.Connected) -> Decision | Awaitable[Decision]:
        return self._judged(self._service.policy.at_client(self._who()), None, "")

    def _on_helo(self, event: events.Helo) -> Decision | Awaitable[Decision]:
        client = self._who()._replace(helo=event.name)
        self._open_with(record.helo(self._now(), event.name))
        return self._judged(self._service.policy.at_helo(client), None, "HELO", event.name)

    def _on_starttls(self, _: events.StartTls) -> Decision:
        return READY_FOR_TLS

    def _on_keys(self, event: KeysWanted) -> Any:
        return begun(self._find_keys(event))

    async def _find_keys(self, event: KeysWanted) -> Keys | Decision:
        keys = await self._service.authenticator.keys(event.identity, event.mechanism, self._address)
        return self._refused(keys, "AUTH", event.identity) if isinstance(keys, Reply) else keys

    def _on_auth(self, event: events.Auth) -> Any:
        return begun(self._let_in(event))

    async def _let_in(self, event: events.Auth) -> Decision | Refused:
        shown, authenticator = event.shown, self._service.authenticator
        if isinstance(shown, Credentials):
            result: Answer = await authenticator.authenticate(shown.identity, shown.password, self._address)
        else:
            result = await authenticator.judge(shown, self._address)
        if isinstance(result, Refused):
            self._refused(result.then, "AUTH", shown.identity)
            return result
        if isinstance(result, Reply):
            return self._refused(result, "AUTH", shown.identity)
        self._service.anteroom.leave(self._pump)
        self._user = result.login
        self._client = Client("")
        self._open_with(record.authenticated(self._now(), result.login, event.mechanism))
        return AUTHENTICATED

    def _on_enquiry(self, event: events.Vrfy | events.Expn) -> Awaitable[Decision]:
        router = self._service.router
        if isinstance(event, events.Vrfy):
            return router.verify(event.argument, authenticated=bool(self._user))
        return router.expand(event.argument, authenticated=bool(self._user))

    def _on_quit(self, _: events.Quit) -> Decision:
        return CLOSING

    def _open_with(self, step: Step) -> None:
        """Add a step to the opening, in place of an earlier one of its kind; EHLO tells of TLS before it."""
        opening = [known for known in self._opening if known[0] != step[0]]
        if self._core.tls and all(known[0] != record.TLS for known in opening):
            opening.append(record.tls(step[1], self._core.tls))
        opening.append(step)
        self._opening = opening

    # ── the envelope ─────────────────────────────────────────────────────────────────────────────

    def _on_mail(self, event: events.Mail) -> Decision | Awaitable[Decision]:
        sender = event.sender
        service = self._service
        client = self._who()
        if service.role is Role.SUBMISSION:
            allowed = service.submission.may_send(self._user, sender.address)
            if not isinstance(allowed, bool):
                return self._mail_later(allowed, client, sender)
            if not allowed:
                return self._refused(SENDER_NOT_OWNED, "MAIL", str(sender.address or ""))
        return self._begin(service.policy.at_sender(client, sender), sender)

    async def _mail_later(self, allowed: Awaitable[bool], client: Client, sender: Sender) -> Decision:
        if not await allowed:
            return self._refused(SENDER_NOT_OWNED, "MAIL", str(sender.address or ""))
        decision = self._begin(self._service.policy.at_sender(client, sender), sender)
        return await decision if isinstance(decision, Awaitable) else decision

    def _begin(self, verdict: Verdict | Awaitable[Verdict], sender: Sender) -> Decision | Awaitable[Decision]:
        if not isinstance(verdict, Verdict):
            return self._begin_later(verdict, sender)
        if verdict.reply is not None:
            return self._refused(verdict.reply, "MAIL", str(sender.address or ""))
        self._sender = sender
        self._accepted = []
        now = self._now()
        self._steps = [
            *self._opening,
            record.sender(now, str(sender.address or ""), sender.size),
        ]
        self._in_letter = True
        self._service.mid_letter.count += 1
        return SENDER_OK

    async def _begin_later(self, verdict: Awaitable[Verdict], sender: Sender) -> Decision:
        decision = self._begin(await verdict, sender)
        assert not isinstance(decision, Awaitable)
        return decision

    def _on_rcpt(self, event: events.Rcpt) -> Decision | Awaitable[Decision]:
        recipient = event.recipient
        resolution = self._service.router.resolve(recipient.address)
        if isinstance(resolution, Awaitable):
            return self._rcpt_later(resolution, recipient)
        return self._judge_recipient(resolution, recipient)

    async def _rcpt_later(self, resolution: Awaitable[Resolution], recipient: Recipient) -> Decision:
        decision = self._judge_recipient(await resolution, recipient)
        return await decision if isinstance(decision, Awaitable) else decision

    def _judge_recipient(
        self, resolution: Resolution, recipient: Recipient
    ) -> Decision | Awaitable[Decision]:
        verdict = self._service.policy.at_recipient(self._who(), self._sender, recipient, resolution)
        if not isinstance(verdict, Verdict):
            return self._judge_recipient_later(verdict, resolution, recipient)
        if verdict.reply is not None:
            return self._refused(verdict.reply, "RCPT", str(recipient.address))
        if resolution.reply.code >= 400:
            return self._refused(resolution.reply, "RCPT", str(recipient.address))
        full = self._over_quota(resolution)
        if not isinstance(full, bool):
            return self._add_later(full, resolution, recipient)
        return self._add(full, resolution, recipient)

    async def _judge_recipient_later(
        self, pending: Awaitable[Verdict], resolution: Resolution, recipient: Recipient
    ) -> Decision:
        verdict = await pending
        if verdict.reply is not None:
            return self._refused(verdict.reply, "RCPT", str(recipient.address))
        if resolution.reply.code >= 400:
            return self._refused(resolution.reply, "RCPT", str(recipient.address))
        full = self._over_quota(resolution)
        return self._add(full if isinstance(full, bool) else await full, resolution, recipient)

    def _over_quota(self, resolution: Resolution) -> bool | Awaitable[bool]:
        """Whether the only mailbox behind a recipient has no room for what MAIL declared."""
        if len(resolution.finals) != 1:
            return False
        account = getattr(resolution.finals[0], "account", None)
        return False if account is None else self._service.full(account, max(1, self._sender.size))

    async def _add_later(
        self, full: Awaitable[bool], resolution: Resolution, recipient: Recipient
    ) -> Decision:
        return self._add(await full, resolution, recipient)

    def _add(self, full: bool, resolution: Resolution, recipient: Recipient) -> Decision:
        if full:
            # RFC 5321 §4.2.3: 452 where waiting may help, 552 where this letter is known not to fit.
            reply = MAILBOX_FULL if self._sender.size else MAILBOX_FULL_FOR_NOW
            return self._refused(reply, "RCPT", str(recipient.address))
        self._accepted.append(Accepted(recipient, resolution))
        self._steps.append(record.recipient(self._now(), str(recipient.address), resolution.path))
        return resolution.reply

    # ── the letter ───────────────────────────────────────────────────────────────────────────────

    def _on_data(self, _: events.Data) -> Decision | Awaitable[Decision]:
        verdict = self._service.policy.at_data(
            self._who(), self._sender, pipelined=self._core.pipelined_too_soon
        )
        self._refusal = None
        edit = self._prepare if self._service.role is Role.SUBMISSION else None
        self._intake = Intake(self._service.spool_directory, edit)
        return self._judged(verdict, START_MAIL_INPUT, "DATA", str(self._sender.address or ""))

    def _prepare(self, head: bytes) -> bytes:
        return self._service.submission.prepare(head, self._sender.address)

    def _on_chunk(self, event: events.Chunk) -> None:
        if self._refusal is not None or self._intake is None:
            return
        try:
            self._intake.feed(event.data)
        except HeadTooLong:
            self._give_up(HEAD_TOO_LONG)
        except OSError as error:
            _log.warning("cannot spool a letter", reason=str(error))
            self._give_up(INSUFFICIENT_STORAGE)

    async def _on_url(self, event: events.FetchUrl) -> Decision:
        """RFC 4468: the octets go the way of those that the client sends. The URL is a key: none is kept."""
        found = await self._service.from_url(self._user, event.url)
        if isinstance(found, Reply):
            return self._refused(found, "BURL", "")
        letter = self._core.letter
        letter.expect(found.size, last=event.last)
        if letter.refusal is not None:
            return None
        try:
            async for octets in found.read():
                self._on_chunk(events.Chunk(letter.take(octets)))
        except (EOFError, OSError) as error:
            _log.warning("cannot read what a URL names", reason=str(error))
            return self._refused(LOCAL_ERROR, "BURL", "")
        self._on_chunk(events.Chunk(letter.take(b"")))
        return None

    def _give_up(self, reply: Reply) -> None:
        """The rest of the letter is thrown away; `reply` is the answer at its end."""
        self._refusal = reply
        if self._intake is not None:
            self._intake.discard()
            self._intake = None

    def _on_end_of_data(self, _: events.EndOfData) -> Decision | Awaitable[Decision]:
        intake, self._intake = self._intake, None
        if self._refusal is not None or intake is None:
            refusal = self._refusal or INSUFFICIENT_STORAGE
            self._forget_letter()
            return self._refused(refusal, "DATA", str(self._sender.address or ""))
        try:
            content = intake.finish()
        except (HeadTooLong, OSError) as error:
            intake.discard()
            self._forget_letter()
            reply = HEAD_TOO_LONG if isinstance(error, HeadTooLong) else INSUFFICIENT_STORAGE
            return self._refused(reply, "DATA", str(self._sender.address or ""))
        letter = self._letter(content)
        try:
            objection = self._objection(letter)
        except DatabaseError as error:
            objection = reply_to(error)
        if isinstance(objection, Awaitable):
            return self._decide_later(letter, objection)
        return self._decide(letter, objection)

    def _letter(self, content: Any) -> Letter:
        service = self._service
        now = self._now()
        client = self._who()
        id = LetterId(service.ids.new())
        accepted = self._accepted
        only = str(accepted[0].recipient.address) if len(accepted) == 1 else None
        trace = received_field(client, service.capabilities.hostname, show(id), now, only)
        steps = self._steps
        letter = Letter(
            id, self._sender, client, content, trace, now, steps, reply_each=service.role is Role.LMTP
        )
        message_id = letter.header.first("Message-ID")
        steps.append(record.content(now, content.size, (message_id or b"").decode("utf-8", "replace")))
        return letter

    def _objection(self, letter: Letter) -> Reply | Awaitable[Reply | None] | None:
        if hop_count(letter.header) > self._service.hopcount_limit:  # RFC 5321 §6.3
            return ROUTING_LOOP
        if letter.header.crowded:  # an author, or a mailbox that has had it, could hide behind the others
            return CROWDED
        if self._service.role is Role.SUBMISSION:
            return self._service.submission.objection(self._user, letter.content.head)
        return None

    async def _decide_later(self, letter: Letter, objection: Awaitable[Reply | None]) -> Decision:
        try:
            reply = await objection
        except DatabaseError as error:
            reply = reply_to(error)
        decision = self._decide(letter, reply)
        return await decision if isinstance(decision, Awaitable) else decision

    def _decide(self, letter: Letter, objection: Reply | None) -> Decision | Awaitable[Decision]:
        accepted = self._accepted
        self._forget_letter()
        if objection is not None:
            if isinstance(letter.content, SpooledContent):
                letter.content.path.unlink(missing_ok=True)
            return self._refused(objection, "DATA", str(self._sender.address or ""))
        return self._service.acceptance.accept(letter, plan(letter, accepted))

    def _on_reset(self, event: events.Reset) -> None:
        if event.reply is not None:
            self._refused(event.reply, "DATA", str(self._sender.address or ""))
        self._forget_letter()

    def _forget_letter(self) -> None:
        """The transaction is over."""
        if self._intake is not None:
            self._intake.discard()
            self._intake = None
        if self._in_letter:
            self._in_letter = False
            self._service.mid_letter.count -= 1
        self._accepted = []

    # ── refusals ─────────────────────────────────────────────────────────────────────────────────

    def _now(self) -> float:
        return self._service.clock.now()

    def _judged(
        self, verdict: Verdict | Awaitable[Verdict], yes: Reply | None, command: str, about: str = ""
    ) -> Decision | Awaitable[Decision]:
        if not isinstance(verdict, Verdict):
            return self._judged_later(verdict, yes, command, about)
        return yes if verdict.reply is None else self._refused(verdict.reply, command, about)

    async def _judged_later(
        self, verdict: Awaitable[Verdict], yes: Reply | None, command: str, about: str
    ) -> Decision:
        decision = self._judged(await verdict, yes, command, about)
        assert not isinstance(decision, Awaitable)
        return decision

    def _refused(self, reply: Reply, command: str, about: str) -> Reply:
        """Remember a refusal: in the journey of the letter under way, and in the client's own, for the
        sender may ask and the client may never come back."""
        now = self._now()
        if self._in_letter:
            self._steps.append(record.refused(now, f"{command} {about}", str(reply)))
        self._service.refusals.add(now, self._who(), command, about, reply)
        return reply


_HANDLERS: dict[type, Callable[[SmtpSession, Any], Any]] = {
    events.Connected: SmtpSession._on_connected,
    events.Helo: SmtpSession._on_helo,
    events.StartTls: SmtpSession._on_starttls,
    KeysWanted: SmtpSession._on_keys,
    events.Auth: SmtpSession._on_auth,
    events.Mail: SmtpSession._on_mail,
    events.Rcpt: SmtpSession._on_rcpt,
    events.Vrfy: SmtpSession._on_enquiry,
    events.Expn: SmtpSession._on_enquiry,
    events.Data: SmtpSession._on_data,
    events.FetchUrl: SmtpSession._on_url,
    events.Chunk: SmtpSession._on_chunk,
    events.EndOfData: SmtpSession._on_end_of_data,
    events.Reset: SmtpSession._on_reset,
    events.Quit: SmtpSession._on_quit,
}
