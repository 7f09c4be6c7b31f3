"""Exchanges as the protocols lead them: what is offered when, how they end, and that nothing breaks them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.protocol import sasl
from posthouse.protocol.sasl import Certificate, Channel, Credentials, Exchange, Proof, SaslError, Token
from tests.unit.protocol_sasl.test_scram import keys

ALL = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "EXTERNAL", "OAUTHBEARER",
       "XOAUTH2", "PLAIN", "LOGIN")  # fmt: skip
BOUND = Channel(True, {"tls-server-end-point": b"this"}.get, binds=True, addresses=("a@b.test",))


def begun(mechanism: str, channel: Channel = BOUND) -> Exchange:
    return Exchange(mechanism, channel, sasl.offered(ALL, channel))


def test_nothing_is_offered_where_somebody_can_listen() -> None:
    assert sasl.offered(ALL, sasl.IN_CLEAR) == ()
    assert sasl.offered(ALL, BOUND._replace(private=False)) == ()


def test_only_what_can_be_used_is_offered() -> None:
    assert sasl.offered(ALL, BOUND) == ALL
    assert sasl.offered(ALL, sasl.PRIVATE) == ALL[2:4] + ALL[5:]
    assert sasl.offered(ALL, BOUND._replace(binds=False)) == ALL[2:]
    assert sasl.offered(ALL, BOUND._replace(addresses=())) == ALL[:4] + ALL[5:]


def test_binding_comes_first() -> None:
    assert sasl.with_binding(("PLAIN", "SCRAM-SHA-1")) == ("SCRAM-SHA-1-PLUS", "PLAIN", "SCRAM-SHA-1")
    assert sasl.with_binding(("PLAIN",)) == ("PLAIN",)


def test_passwords_are_taken_where_a_mechanism_sends_them() -> None:
    assert sasl.takes_passwords(("EXTERNAL", "LOGIN"))
    assert not sasl.takes_passwords(("EXTERNAL", "SCRAM-SHA-256", "OAUTHBEARER"))


@pytest.mark.parametrize(("initial", "identity"), [(b"=", ""), (b"YUBiLnRlc3Q=", "a@b.test")])
def test_external_hands_on_what_tls_has_verified(initial: bytes, identity: str) -> None:
    assert begun("EXTERNAL").begin(initial) == Certificate(identity, ("a@b.test",))
    late = begun("EXTERNAL")
    assert late.begin(None) == b""
    assert late.respond(initial.replace(b"=", b"") if identity == "" else initial) == Certificate(
        identity, ("a@b.test",)
    )


@pytest.mark.parametrize("initial", [b"\0", b"\xff", b"x" * 2000])
def test_external_wants_text(initial: bytes) -> None:
    with pytest.raises(SaslError):
        begun("EXTERNAL").begin(base64.b64encode(initial))


@pytest.mark.parametrize("said", [b"AQ==", b"*", b"", b"nonsense!"])
def test_a_refusal_that_is_explained_ends_with_whatever_the_client_says(said: bytes) -> None:
    exchange = begun("XOAUTH2")
    assert isinstance(exchange.begin(base64.b64encode(b"user=a\x01auth=Bearer b\x01\x01")), Token)
    assert exchange.refuse(sasl.Refused(b"{}", "no")) == b"e30="
    assert exchange.respond(said) == sasl.Over("no")


@pytest.mark.parametrize("line", [b"*", b"a", b"!!!!"])
def test_an_exchange_can_be_cancelled_and_broken(line: bytes) -> None:
    exchange = begun("PLAIN")
    exchange.begin(None)
    with pytest.raises(SaslError):
        exchange.respond(line)


def test_nobody_acts_as_somebody_else() -> None:
    with pytest.raises(sasl.NotYourself):
        begun("PLAIN").begin(base64.b64encode(b"eve\0alice\0secret"))
    assert begun("PLAIN").begin(base64.b64encode(b"alice\0alice\0secret")) == Credentials(
        "alice", "secret", "alice"
    )


@pytest.mark.parametrize("mechanism", ALL)
@given(lines=st.lists(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(base64.b64encode),
                                st.sampled_from([b"", b"=", b"*", base64.b64encode(b"n,,n=user,r=x"),
                                                 base64.b64encode(b"p=tls-server-end-point,,n=user,r=x"),
                                                 base64.b64encode(b"n,,\x01auth=Bearer x\x01\x01")])),
                      max_size=5))  # fmt: skip
def test_anything_at_all_ends_in_order(mechanism: str, lines: list[bytes]) -> None:
    exchange = begun(mechanism)
    step = exchange.begin
    for line in lines:
        try:
            outcome = step(line)
        except SaslError:
            return
        step = exchange.respond
        if isinstance(outcome, sasl.KeysWanted):
            exchange.challenge(keys(outcome.mechanism))
        elif isinstance(outcome, Token):
            exchange.refuse(sasl.Refused(b"{}", "no"))
        elif not isinstance(outcome, bytes):
            assert isinstance(outcome, sasl.Over | Credentials | Certificate | Proof)
            assert not (isinstance(outcome, Proof) and outcome.right)
            return
