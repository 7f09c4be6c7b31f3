"""What an attempt at another host looked like, as the journey keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from posthouse.journey import record
from posthouse.mail.outcome import Deferred

if TYPE_CHECKING:
    from posthouse.journey.record import Step
    from posthouse.outbound.send import Sent

_DIRECTIONS = {"C": ">", "S": "<"}


def attempt_step(sent: Sent, began: float, ended: float, numbers: Sequence[int], next_hop: str) -> Step:
    """One step of everything that outbound noted: DNS, connections, TLS, the dialogue.

    A host that could not be reached stands in the dialogue as a remark.
    """
    dns: Sequence[str] = ()
    peer = tls = ""
    dialogue: list[tuple[str, str, float]] = []
    for kind, at, data in sent.steps:
        if kind == "route":
            dns = [*dns, *data["answers"]]
        elif kind == "dialogue":
            offset = max(0.0, at - began)
            dialogue += [(_DIRECTIONS[side], text, offset + seconds) for side, text, seconds in data["lines"]]
        elif "error" in data:
            dialogue.append(("-", f"{data['place']}: {data['error']}", at - began))
        else:
            peer, tls = data["place"], data.get("tls", "")
    return record.attempt(
        began, numbers, next_hop, seconds=ended - began, dns=dns, peer=peer, tls=tls, dialogue=dialogue
    )


def is_unreachable(sent: Sent) -> bool:
    """Whether nobody there said a word, so that other letters for it need not be tried now."""
    return all(type(outcome) is Deferred for outcome in sent.outcomes) and not any(
        kind == "dialogue" for kind, _, _ in sent.steps
    )
