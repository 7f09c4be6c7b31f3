"""A journey told to people: one plain sentence first, then hop by hop with times and the meaning of replies.

`tell` makes the story, `lines` prints it, `plain` is the same journey for programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from posthouse.journey import record
from posthouse.journey.record import Journey, Step
from posthouse.mail import codes
from posthouse.mail.ids import show


class Hop(NamedTuple):
    """One thing that happened."""

    at: float
    """Seconds since 1970 UTC."""
    says: str
    """A sentence."""
    details: tuple[str, ...] = ()


class Story(NamedTuple):
    """A journey in words."""

    id: str
    first: str
    """What became of the letter, in one sentence, or in one for each recipient."""
    hops: tuple[Hop, ...]


def tell(journey: Journey, number: int = 0) -> Story:
    """The story of a journey. `number` chooses one recipient (`ID/2`); 0 is all of them."""
    steps = [step for step in journey.steps if not number or _concerns(step, number)]
    hops = tuple(_HOPS[step[0]](step) for step in steps if step[0] in _HOPS)
    return Story(show(journey.id), _first_sentence(steps), hops)


def lines(story: Story) -> Iterator[str]:
    """The story as lines of text, without control characters: it repeats what strangers said."""
    yield f"{story.id}: {_printable(story.first)}"
    yield ""
    for hop in story.hops:
        yield f"{moment_text(hop.at)}  {_printable(hop.says)}"
        for detail in hop.details:
            yield f"{' ' * 27}{_printable(detail)}"


def plain(journey: Journey) -> dict[str, Any]:
    """The journey for programs: ids as shown, times in seconds since 1970 UTC, fields by name."""
    steps = []
    for kind, at, *fields in journey.steps:
        name, names = record.KINDS.get(kind, (f"kind {kind}", ()))
        values = dict(zip(names, fields, strict=False))
        for field in ("child", "parent"):
            if values.get(field):
                values[field] = show(values[field])
        steps.append({"kind": name, "at": at, **values})
    return {"id": show(journey.id), "summary": _first_sentence(journey.steps), "steps": steps}


def moment_text(at: float) -> str:
    """`2026-11-02 14:04:05 +0100`, in the zone of this machine."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def reply_text(reply: str) -> str:
    """A reply with its meaning."""
    return f"{reply} ({_meaning(reply)})"


def _meaning(reply: str) -> str:
    return codes.explain(reply).says.removesuffix(".")


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


_NUMBERED = {
    record.STORED,
    record.QUEUED,
    record.BOUNCED,
    record.DISCARDED,
    record.DELIVERED,
    record.DEFERRED,
    record.FAILED,
    record.DELAY_WARNING,
}


def _concerns(step: Step, number: int) -> bool:
    kind = step[0]
    if kind in _NUMBERED:
        return bool(step[2] == number)
    if kind == record.ATTEMPT:
        return number in step[2]
    if kind == record.ADMINISTRATOR:
        return step[3] in (0, number)
    return True


# What became of it: the last word on each recipient.


def _first_sentence(steps: Sequence[Step]) -> str:
    fates: dict[int, Step] = {}
    for step in steps:
        if step[0] in _NUMBERED and step[0] != record.DELAY_WARNING:
            fates[step[2]] = step
        elif step[0] == record.ADMINISTRATOR:
            for number in [step[3]] if step[3] else list(fates):
                if number in fates and fates[number][0] in (
                    record.QUEUED,
                    record.DEFERRED,
                    record.ADMINISTRATOR,
                ):
                    fates[number] = (*step, _recipient(fates[number]))
    if len(fates) == 1:
        return _fate(next(iter(fates.values())))
    if fates:
        return f"{len(fates)} recipients. " + " ".join(_fate(fates[number]) for number in sorted(fates))
    refused = [step for step in steps if step[0] == record.REFUSED_SESSION]
    if refused:
        count = sum(step[3] for step in refused)
        times = "once" if count == 1 else f"{count} times"
        return f"Refused {times}: the client {refused[0][2]}, {_meaning(refused[0][7]).lower()}."
    return "Accepted for nobody: no recipient is recorded."


def _recipient(step: Step) -> str:
    return str(step[-1] if step[0] == record.ADMINISTRATOR else step[3])


def _fate(step: Step) -> str:
    kind, at = step[0], moment_text(step[1])
    match kind:
        case record.STORED:
            return f"Delivered to {step[3]}, mailbox {step[4]}, at {at}."
        case record.DELIVERED:
            return f"Delivered to {step[3]} at {at}: {step[5] or 'the next hop'} took it."
        case record.QUEUED:
            return f"Still in the queue for {step[3]}" + (
                f": {reply_text(step[5])}." if step[5] else ", not tried yet."
            )
        case record.DEFERRED:
            next_attempt = f"; next attempt at {moment_text(step[6])}" if step[6] else ""
            return f"Still in the queue for {step[3]}: {reply_text(step[4])}{next_attempt}."
        case record.BOUNCED | record.FAILED:
            return f"Bounced: {step[3]}, {reply_text(step[4])}, at {at}."
        case record.DISCARDED:
            return f"Discarded on purpose: {step[3]}, {step[4]}, at {at}."
    action = step[2]
    recipient = _recipient(step)
    if action == "deleted":
        return f"Deleted from the queue by an administrator: {recipient}, at {at}."
    if action == "held":
        return f"Held in the queue by an administrator: {recipient}, since {at}."
    return f"Still in the queue for {recipient}: {action} by an administrator at {at}."


# One function for each kind of step.


def _connected(step: Step) -> Hop:
    _, at, address, port, listener = step
    if address == "local":
        return Hop(at, f"A program on this machine connected to {listener}.")
    return Hop(at, f"{address} port {port} connected to {listener}.")


def _helo(step: Step) -> Hop:
    return Hop(step[1], f"It calls itself {step[2]}.")


def _tls(step: Step) -> Hop:
    return Hop(step[1], f"The connection was encrypted: {step[2]}.")


def _authenticated(step: Step) -> Hop:
    _, at, user, *mechanism = step  # steps recorded by earlier versions name no mechanism
    by = f" by {mechanism[0]}" if mechanism and mechanism[0] else ""
    return Hop(at, f"{user} logged in{by}.")


def _sender(step: Step) -> Hop:
    _, at, address, size = step
    announced = f" and announced {size:,} octets" if size else ""
    return Hop(at, f"The sender is {address or 'nobody (null reverse-path)'}{announced}.")


def _recipient_hop(step: Step) -> Hop:
    return Hop(step[1], f"A recipient is {step[2]}.", tuple(step[3]))


def _refused(step: Step) -> Hop:
    return Hop(step[1], f"Refused: {step[2]}", _reply_details(step[3]))


def _content(step: Step) -> Hop:
    named = (f"Its Message-ID is {step[3]}.",) if step[3] else ()
    return Hop(step[1], f"The letter arrived: {step[2]:,} octets.", named)


def _decision(step: Step) -> Hop:
    return Hop(step[1], f"Rule {step[2]}: {step[3]}", (step[4],) if step[4] else ())


def _stored(step: Step) -> Hop:
    return Hop(step[1], f"Stored for {step[3]} in the mailbox {step[4]} as UID {step[5]}.")


def _queued(step: Step) -> Hop:
    _, at, number, recipient, next_hop, reason = step
    where = "to be delivered here" if next_hop == "local" else f"for {next_hop}"
    return Hop(
        at, f"Queued {where} as recipient {number}, {recipient}.", _reply_details(reason) if reason else ()
    )


def _bounced(step: Step) -> Hop:
    return Hop(step[1], f"Could not be accepted for {step[3]}.", _reply_details(step[4]))


def _discarded(step: Step) -> Hop:
    return Hop(step[1], f"Discarded for {step[3]}: {step[4]}.")


def _written(step: Step) -> Hop:
    return Hop(step[1], f"Written by this system about the letter {show(step[2])}, to {', '.join(step[3])}.")


def _dsn_sent(step: Step) -> Hop:
    return Hop(step[1], f"The sender was notified by the letter {show(step[2])}.")


def _attempt(step: Step) -> Hop:
    _, at, numbers, next_hop, seconds, dns, peer, tls, dialogue = step
    listed = ", ".join(map(str, numbers))
    reached = f"reached {peer}" if peer else "reached nobody"
    details = [f"DNS: {answer}" for answer in dns]
    if peer:
        details.append(
            f"The connection was encrypted: {tls}." if tls else "The connection was not encrypted."
        )
    for direction, line, offset in dialogue:
        details.append(f"{offset:8.3f} s {direction} {line}")
        if direction == "<" and line[:3].isdecimal() and line[3:4] != "-":  # the last line of a reply
            details.append(f"{' ' * 11}  = {_meaning(line)}")
    says = f"Tried to pass it to {next_hop} for recipient {listed}: {reached}, {seconds:.1f} s."
    return Hop(at, says, tuple(details))


def _delivered(step: Step) -> Hop:
    return Hop(
        step[1], f"Delivered to {step[3]}: {step[5] or 'the next hop'} took it.", (f"Reply: {step[4]}",)
    )


def _deferred(step: Step) -> Hop:
    details = _reply_details(step[4])
    if step[6]:
        details += (f"Next attempt at {moment_text(step[6])}.",)
    return Hop(step[1], f"Not delivered to {step[3]} this time{_at_place(step[5])}.", details)


def _failed(step: Step) -> Hop:
    return Hop(step[1], f"Given up for {step[3]}{_at_place(step[5])}.", _reply_details(step[4]))


def _at_place(place: str) -> str:
    return f", at {place}" if place else ""


def _delay_warning(step: Step) -> Hop:
    by = f" by the letter {show(step[4])}" if step[4] else ""
    return Hop(step[1], f"The sender was warned that {step[3]} does not have it yet{by}.")


def _administrator(step: Step) -> Hop:
    who = f"the administrator {step[4]}" if step[4] else "an administrator"
    what = f"recipient {step[3]}" if step[3] else "all recipients"
    return Hop(step[1], f"{step[2].capitalize()} by {who}: {what}.")


def _refused_session(step: Step) -> Hop:
    _, at, address, count, last, command, about, reply = step
    when = f", until {moment_text(last)}" if count > 1 else ""
    times = "once" if count == 1 else f"{count} times"
    subject = f" {about}" if about else ""
    return Hop(
        at, f"{address} was refused at {command or 'connect'}{subject}, {times}{when}.", _reply_details(reply)
    )


def _reply_details(reply: str) -> tuple[str, ...]:
    """The reply, what it means and what to do."""
    explained = codes.explain(reply)
    found = [f"Reply: {reply}", f"That is: {explained.says}"]
    if explained.advice:
        found.append(explained.advice)
    return tuple(found)


_HOPS: dict[int, Callable[[Step], Hop]] = {
    record.CONNECTED: _connected,
    record.HELO: _helo,
    record.TLS: _tls,
    record.AUTHENTICATED: _authenticated,
    record.SENDER: _sender,
    record.RECIPIENT: _recipient_hop,
    record.REFUSED: _refused,
    record.CONTENT: _content,
    record.DECISION: _decision,
    record.STORED: _stored,
    record.QUEUED: _queued,
    record.BOUNCED: _bounced,
    record.DISCARDED: _discarded,
    record.WRITTEN: _written,
    record.DSN_SENT: _dsn_sent,
    record.ATTEMPT: _attempt,
    record.DELIVERED: _delivered,
    record.DEFERRED: _deferred,
    record.FAILED: _failed,
    record.DELAY_WARNING: _delay_warning,
    record.ADMINISTRATOR: _administrator,
    record.REFUSED_SESSION: _refused_session,
}
