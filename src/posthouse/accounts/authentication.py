"""Logging in: a name and a password in, an account or a refusal out.

Passwords are hashed in one thread, for hashing is dear and must not starve the mail; before that
stands the throttle: who has failed too often is refused, and while as many attempts from an address,
or at a login, are under way as may still fail, the next ones wait in line until these are decided.
A login that is not there costs the same time as a wrong password. A password that was right (or wrong)
is remembered for a short while as a hash under a key of this process, bound to the secret that is
stored at the moment of each login: a changed or revoked password is useless at once, a client that
reconnects every few seconds costs microseconds, and one that repeats an outdated password is neither
hashed nor punished again.

Mechanisms that do not send the password bring other evidence, which `judge` looks at: SCRAM asks for `keys`
first, and its `Proof` counts only while the password is the one that the keys were made of; a `Certificate`
has been verified by TLS; a `Token` is read by `accounts.tokens`.

Who came in by what is logged, as is who did not. Passwords and tokens are never kept, logged or put into an
exception.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from posthouse.accounts import account as accounts
from posthouse.accounts import credential as credentials
from posthouse.accounts import password as passwords
from posthouse.accounts import scram
from posthouse.accounts.cache import Recent
from posthouse.accounts.throttle import Throttle, network_of
from posthouse.accounts.tokens import TokenRefused
from posthouse.db import DatabaseError
from posthouse.mail.address import AddressError, canonical, parse_address
from posthouse.mail.reply import AUTH_INVALID, AUTH_TEMPORARY, Reply
from posthouse.observe import log, metrics
from posthouse.protocol.sasl import (
    BEARER,
    SCRAM,
    Certificate,
    Evidence,
    Keys,
    Proof,
    Refused,
    Token,
    problem,
    with_binding,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from posthouse.accounts.account import Account
    from posthouse.accounts.credential import Credential
    from posthouse.accounts.tokens import Tokens
    from posthouse.db import Database, Reader
    from posthouse.mail.envelope import AccountId
    from posthouse.ports import Clock

T = TypeVar("T")

REMEMBER = 300.0
"""Seconds for which the outcome of hashing is remembered."""

REMEMBERED = 10_000
"""Outcomes remembered at most."""

LOGINS_KEPT = 1000
"""Logins kept as they were read, at most, while nothing is committed."""

BACKLOG = 100
"""Logins that wait for the hashing thread (about three seconds) or in line, at most each; beyond it, 454."""

PATIENCE = 20.0
"""Seconds for which a login waits in line at most; after that, 454."""

LOOK_AGAIN = 0.02
"""Seconds after which the first in line looks whether others, of any worker, are decided; less than hashing
takes, so that the hashing thread always has something to do."""

TOO_MANY_FAILURES = AUTH_TEMPORARY.saying("Too many failed logins, try again later")
TOO_MANY_AT_ONCE = AUTH_TEMPORARY.saying("Too many logins at once, try again later")
ACCOUNT_DISABLED = Reply(535, "5.7.8", "This account is disabled")
WHICH_ACCOUNT = Reply(535, "5.7.8", "The certificate is for several accounts, say for which")

_log = log.get("accounts")
_LOGINS = metrics.counters("posthouse_logins_total", "logins tried", "answer", ("let in", "refused"))
_PASSWORD = "password"
_LET_IN = metrics.counters(
    "posthouse_logins_let_in_total",
    "logins that were let in, by how they showed who they are",
    "mechanism",
    (_PASSWORD, *with_binding(tuple(SCRAM)), "EXTERNAL", *BEARER),
)


class Authenticated(NamedTuple):
    """A user of ours, proven."""

    account: AccountId
    login: str
    """The canonical address of the account."""
    name: str
    """Display name, possibly empty."""
    admin: bool


Answer: TypeAlias = Authenticated | Reply | Refused
"""`Refused` holds a Reply, and what the client is told before it."""


class _Known(NamedTuple):
    right: bool
    until: float


class _Login(NamedTuple):
    account: Account | None
    credentials: tuple[Credential, ...]


class Authenticator:
    """Logs users in for all protocols of one worker.

    `exempt` tells whether a client address is trusted (mynetworks), hence never throttled. `mechanisms`
    are the names of those that are configured; who logs in with a password gets keys for SCRAM among them.
    `throttle`: the one of all workers; None: one of its own.
    """

    tokens: Tokens | None = None
    """Reads tokens, where the configuration names an issuer."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        exempt: Callable[[str], bool],
        mechanisms: Callable[[], Sequence[str]] = tuple,
        throttle: Throttle | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._exempt = exempt
        self._mechanisms = mechanisms
        self._throttle = throttle or Throttle()
        self._key = os.urandom(32)
        self._known: Recent[bytes, _Known] = Recent(REMEMBERED)
        self._logins: Recent[str, tuple[int, _Login]] = Recent(LOGINS_KEPT)
        """Each with the version of the database that it was read from."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="argon2")
        self._waiting = 0
        self._lines: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By client network; who holds the lock is the first in line."""
        self._in_line = 0

    async def authenticate(self, login: str, password: str, client: str) -> Authenticated | Reply:
        """Check a login. `client` is the IP address of the client as text, or `local`.

        A refusal is 535 5.7.8, or 454 4.7.0 where trying again later makes sense: too many failures,
        too many logins at once, the database out of reach.
        """
        name, prepared = _prepared(login, password)
        answer = await self._compare(name, prepared, client)
        _note(answer, name, _PASSWORD, client)
        return answer

    async def judge(self, evidence: Evidence, client: str) -> Answer:
        """Let somebody in who has shown something else than his password; `client` and refusals as above."""
        if isinstance(evidence, Proof):
            name, _ = _prepared(evidence.identity, "")
            answer: Answer = await self._prove(name, evidence, client)
        elif isinstance(evidence, Certificate):
            name, _ = _prepared(evidence.identity or " ".join(evidence.addresses), "")
            answer = await self._certify(evidence)
        else:
            name, _ = _prepared(evidence.identity or "(a token)", "")
            answer = await self._redeem(evidence, client)
        _note(answer, name, evidence.mechanism, client)
        return answer

    async def _compare(self, name: str, prepared: bytes, client: str) -> Authenticated | Reply:
        found = await self._find(name)
        if found is None:
            return AUTH_TEMPORARY
        known = self._recall(name, found, prepared)
        if known is not None:
            return _outcome(known, found.account)
        if self._exempt(client):
            return await self._hash(name, prepared, None)
        refusal = await self._begin(name, client)
        if refusal is not None:
            return refusal
        try:
            return await self._hash(name, prepared, client)
        finally:
            self._throttle.end(client, name)

    async def _begin(self, name: str, client: str) -> Reply | None:
        """Begin an attempt, once those under way leave room for one that may fail; a reply: why not."""
        if self._in_line >= BACKLOG:
            return TOO_MANY_AT_ONCE
        line = self._lines.setdefault(network_of(client), asyncio.Lock())
        # Not `asyncio.timeout`: a login begins outside of any task (net/begun.py). Who stands behind another
        # came after him, so he is the first before his own time is up.
        time = asyncio.get_running_loop().time
        until = time() + PATIENCE
        self._in_line += 1
        try:
            async with line:
                while not self._throttle.begin(client, name, self._clock.now()):
                    if self._throttle.wait(client, name, self._clock.now()) > 0:
                        return TOO_MANY_FAILURES
                    if time() >= until:
                        return TOO_MANY_AT_ONCE
                    await asyncio.sleep(LOOK_AGAIN)
        finally:
            self._in_line -= 1
        return None

    async def _hash(self, name: str, prepared: bytes, client: str | None) -> Authenticated | Reply:
        """Compare with what is stored and remembered by now; `client`: whose failure or success it is."""
        found = await self._find(name)
        if found is None:
            return AUTH_TEMPORARY
        right = self._recall(name, found, prepared)
        if right is None:
            if self._waiting >= BACKLOG:
                return TOO_MANY_AT_ONCE
            right = await self._check(name, found, prepared)
            if client is not None:
                count = self._throttle.succeeded if right else self._throttle.failed
                count(client, name, self._clock.now())
        return _outcome(right, found.account)

    async def keys(self, login: str, mechanism: str, client: str) -> Keys | Reply:
        """What a server needs to know of a password for SCRAM; made up where there is nothing to know.

        454 4.7.0 after too many failures, or while the database is out of reach.
        """
        name, _ = _prepared(login, "")
        if not self._exempt(client) and self._throttle.wait(client, name, self._clock.now()) > 0:
            return TOO_MANY_FAILURES
        found = await self._find(name)
        if found is None:
            return AUTH_TEMPORARY
        for credential in found.credentials:
            kept = scram.stored(credential, mechanism)
            if kept is not None and credential.label == credentials.PASSWORD:
                return kept.keys(credential.version)
        secret = await self._shared_secret()
        if secret is None:
            return AUTH_TEMPORARY
        if found.account is not None:
            _log.info("no keys for this mechanism; a new password, or a login with PLAIN, makes them",
                      mechanism=mechanism, login=name)  # fmt: skip
        return scram.made_up(secret, name, mechanism)

    async def _prove(self, name: str, proof: Proof, client: str) -> Authenticated | Reply:
        """Let somebody in by a proof that was compared with `keys`."""
        if proof.suspicion:
            _log.warning("somebody may stand between a client and us", login=name, client=client,
                         mechanism=proof.mechanism, reason=proof.suspicion)  # fmt: skip
        throttled = not self._exempt(client)
        now = self._clock.now()
        found = await self._find(name)
        if found is None:
            return AUTH_TEMPORARY
        # Asked once more: many exchanges may have begun before the first of them failed.
        if throttled and self._throttle.wait(client, name, now) > 0:
            return TOO_MANY_FAILURES
        current = (credential.version for credential in found.credentials
                   if credential.label == credentials.PASSWORD)  # fmt: skip
        right = proof.right and proof.version in current
        if throttled:
            count = self._throttle.succeeded if right else self._throttle.failed
            count(client, name, now)
        return _outcome(right, found.account)

    async def _certify(self, certificate: Certificate) -> Authenticated | Reply:
        """Let somebody in by what TLS has verified. Nobody can guess a certificate: there is no throttle."""
        names = sorted({_prepared(address, "")[0] for address in certificate.addresses})
        if certificate.identity:
            wanted, _ = _prepared(certificate.identity, "")
            names = [name for name in names if name == wanted]
        found = await self._look(lambda reader: [_read(reader, name).account for name in names])
        if found is None:
            return AUTH_TEMPORARY
        known = [account for account in found if account is not None]
        if len(known) > 1:
            return WHICH_ACCOUNT
        return _outcome(bool(known), known[0] if known else None)

    async def _redeem(self, token: Token, client: str) -> Answer:
        """Let somebody in by a token.

        Failures count against the client alone: nobody can guess one, so that a login under fire by others
        is not held up, and neither is who shows a token that has been good.
        """
        if self.tokens is None:
            return AUTH_INVALID
        throttled, now = not self._exempt(client), self._clock.now()
        nobody = f"a token from {client}"
        if throttled and self._throttle.wait(client, nobody, now) > 0:
            return TOO_MANY_FAILURES
        try:
            name, _ = _prepared(self.tokens.read(token.token), "")
            if token.identity and _prepared(token.identity, "")[0] != name:
                raise TokenRefused("for somebody else than it is shown for", genuine=True)
        except TokenRefused as refused:
            if throttled and not refused.genuine:
                self._throttle.failed(client, nobody, now)
            _log.info("cannot use a token", client=client, reason=str(refused))
            return self._explained(token, refused.code, AUTH_INVALID)
        found = await self._find(name)
        if found is None:
            return AUTH_TEMPORARY
        answer = _outcome(True, found.account)
        return self._explained(token, "invalid_token", answer) if isinstance(answer, Reply) else answer

    def _explained(self, token: Token, code: str, reply: Reply) -> Refused:
        """A refusal, and what the client is told of how to get a better token (RFC 7628 §3.2.2)."""
        assert self.tokens is not None
        ours = self.tokens.settings
        said = problem(token.mechanism, code, scope=ours.scope, discovery=ours.discovery_url)
        return Refused(said, reply)

    async def _find(self, name: str) -> _Login | None:
        """Who may log in by this name, as it is now; None while the database is away.

        Where the database can tell (SQLite) it is not read again before something has been committed.
        """
        try:
            version = self._database.version()
        except DatabaseError:
            version = None
        if version is not None:
            kept = self._logins.get(name)
            if kept is not None and kept[0] == version:
                return kept[1]
        found = await self._look(lambda reader: _read(reader, name))
        if found is not None and version is not None:
            self._logins.put(name, (version, found))
        return found

    async def _look(self, look: Callable[[Reader], T]) -> T | None:
        """What is found; None while the database is away."""
        try:
            return await self._database.read(look, point=True)
        except DatabaseError as problem:
            _log.warning("login not checked", reason=str(problem))
            return None

    async def _shared_secret(self) -> bytes | None:
        """What made-up salts come from; None while the database is away."""
        try:
            known = await self._database.read(scram.read_secret, point=True)
            return known or await self._database.write([], scram.make_secret)
        except DatabaseError as problem:
            _log.warning("login not checked", reason=str(problem))
            return None

    def close(self) -> None:
        """Let the hashing thread end once it has nothing to do; stop counting."""
        self._throttle.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _recall(self, name: str, found: _Login, prepared: bytes) -> bool | None:
        """What hashing said of this password a short while ago; None: unknown."""
        now, wrong, secrets = self._clock.now(), 0, _secrets(found)
        for secret in secrets:
            known = self._known.get(self._digest(name, secret, prepared))
            if known is None or known.until < now:
                continue
            if known.right:
                return True
            wrong += 1
        return False if wrong == len(secrets) else None

    async def _check(self, name: str, found: _Login, prepared: bytes) -> bool:
        """Hash, remember what came out, and strengthen an outdated hash."""
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            secrets = _secrets(found)
            matching = await loop.run_in_executor(self._thread, _first_match, secrets, prepared)
        finally:
            self._waiting -= 1
        until = self._clock.now() + REMEMBER
        for index, secret in enumerate(secrets[: len(secrets) if matching is None else matching + 1]):
            self._known.put(self._digest(name, secret, prepared), _Known(index == matching, until))
        if matching is None or not found.credentials:
            return False
        credential = found.credentials[matching]
        if passwords.is_outdated(credential.secret):
            secret = await loop.run_in_executor(self._thread, passwords.hash_password, prepared)
            self._database.write_later(lambda tx: credentials.upgrade(tx, credential, secret))
        elif credential.label == credentials.PASSWORD and scram.lacks(credential, self._mechanisms()):
            keys = await loop.run_in_executor(self._thread, scram.derive, prepared, self._mechanisms())
            self._database.write_later(lambda tx: credentials.keep_scram(tx, credential, keys))
        return True

    def _digest(self, name: str, secret: str, prepared: bytes) -> bytes:
        # The stored secret holds a random salt, so a digest never outlives the password it was made for.
        message = b"\0".join((name.encode("utf-8", "surrogatepass"), secret.encode(), prepared))
        return blake2b(message, digest_size=32, key=self._key).digest()


def _prepared(login: str, password: str) -> tuple[str, bytes]:
    """Both as they are compared; what can be no login or password becomes one that nobody has."""
    try:
        name = canonical(parse_address(login.strip()))
    except AddressError:
        name = ascii(login[:254]).lower()
    try:
        return name, passwords.prepare(password)
    except passwords.PasswordError:
        return name, b"\0"


def _read(reader: Reader, name: str) -> _Login:
    account = accounts.find(reader, name)
    if account is None or account.state is accounts.State.RETIRED:
        return _Login(None, ())
    return _Login(account, tuple(credentials.of_account(reader, account.id)))


def _note(answer: Answer, name: str, mechanism: str, client: str) -> None:
    """Count a login, and log it."""
    if isinstance(answer, Authenticated):
        _LOGINS["let in"].add()
        _LET_IN[mechanism].add()
        _log.info("logged in", login=answer.login, mechanism=mechanism, client=client)
    else:
        _LOGINS["refused"].add()
        reply = answer.then if isinstance(answer, Refused) else answer
        _log.info("login refused", login=name, mechanism=mechanism, client=client, reply=str(reply))


def _outcome(right: bool, account: Account | None) -> Authenticated | Reply:
    if not right or account is None:
        return AUTH_INVALID
    # Only who knows the password learns that the account is disabled.
    if not account.active:
        return ACCOUNT_DISABLED
    return Authenticated(account.id, account.address, account.name, account.admin)


def _secrets(found: _Login) -> tuple[str, ...]:
    """What the password is hashed against: never nothing, so that time tells nothing."""
    return tuple(credential.secret for credential in found.credentials) or (passwords.DUMMY,)


def _first_match(secrets: tuple[str, ...], prepared: bytes) -> int | None:
    for index, secret in enumerate(secrets):
        if passwords.matches(secret, prepared):
            return index
    return None
