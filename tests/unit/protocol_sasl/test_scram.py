"""SCRAM, the server's side: the examples of the RFCs, and what must not get through."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.protocol.sasl import PRIVATE, Channel, Keys, KeysWanted, Proof, SaslError, make_keys
from posthouse.protocol.sasl.scram import ScramServer
from tests.scramclient import ScramClient

EXAMPLES = {
    "SCRAM-SHA-1": (  # RFC 5802 §5
        "sha1",
        "QSXCR+Q6sek8bf92",
        "fyko+d2lbbFgONRv9qkxdawL",
        "3rfcNHYJY1ZVvWVs7j",
        "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    "SCRAM-SHA-256": (  # RFC 7677 §3
        "sha256",
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        "rOprNGfwEbeRWgbNEkqO",
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


def keys(mechanism: str, password: bytes = b"pencil") -> Keys:
    hash, salt, _, nonce, _, _ = EXAMPLES[mechanism]
    octets = base64.b64decode(salt)
    return Keys(octets, 4096, *make_keys(password, octets, 4096, hash), 7, nonce)


def begun(mechanism: str, password: bytes = b"pencil", first: str = "n,,n=user,r={}") -> ScramServer:
    """An exchange as of the RFC's, up to the server's first message."""
    _, salt, client_nonce, server_nonce, _, _ = EXAMPLES[mechanism]
    server = ScramServer(mechanism, PRIVATE)
    assert server.step(None) == b""
    assert server.step(first.format(client_nonce).encode()) == KeysWanted("user", mechanism)
    expected = f"r={client_nonce}{server_nonce},s={salt},i=4096"
    assert server.challenge(keys(mechanism, password)) == expected.encode()
    return server


def final(mechanism: str, binding: str = "biws") -> bytes:
    _, _, client_nonce, server_nonce, proof, _ = EXAMPLES[mechanism]
    return f"c={binding},r={client_nonce}{server_nonce},p={proof}".encode()


@pytest.mark.parametrize("mechanism", EXAMPLES)
def test_the_example_of_the_rfc(mechanism: str) -> None:
    server = begun(mechanism)
    assert server.step(final(mechanism)) == f"v={EXAMPLES[mechanism][5]}".encode()
    assert server.step(b"") == Proof(mechanism, "user", "", True, 7)


@pytest.mark.parametrize("mechanism", EXAMPLES)
def test_another_password_is_told_apart_and_the_server_does_not_prove_itself(mechanism: str) -> None:
    server = begun(mechanism, password=b"Pencil")
    assert server.step(final(mechanism)) == Proof(mechanism, "user", "", False, 7)


@pytest.mark.parametrize(
    "message",
    [
        "c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",  # the nonce cut short
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzb",  # a short proof
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=!",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    ],
)
def test_a_last_message_that_does_not_fit_is_refused(message: str) -> None:
    with pytest.raises(SaslError):
        begun("SCRAM-SHA-256").step(message.encode())


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n",
        b"n,,",
        b"n,,n=user",
        b"n,,n=user,r=",
        b"n,,n=,r=x",
        b"n,,m=1,n=user,r=x",  # mandatory extensions, of which there are none
        b"p=tls-unique,,n=user,r=x",
        b"x,,n=user,r=x",
        b"n,a,n=user,r=x",
        b"n,,n=a=b,r=x",
        b"n,,n=\xff,r=x",
        b"n,,n=user,r=a b",
        b"n,,n=user,r=" + b"x" * 2000,
        b"n,,n=" + b"x" * 2000 + b",r=x",
    ],
)
def test_a_first_message_that_is_none_is_refused(message: bytes) -> None:
    with pytest.raises(SaslError):
        ScramServer("SCRAM-SHA-256", PRIVATE).step(message)


def test_a_name_may_hold_what_parts_the_fields_and_somebody_else_may_be_meant() -> None:
    """RFC 5802 §5.1."""
    server = ScramServer("SCRAM-SHA-256", PRIVATE)
    assert server.step(b"y,a=boss=2Cthe,n=a=2Cb=3Dc,r=x") == KeysWanted("a,b=c", "SCRAM-SHA-256")


def test_what_a_client_says_after_the_end_is_refused() -> None:
    server = begun("SCRAM-SHA-256")
    server.step(final("SCRAM-SHA-256"))
    with pytest.raises(SaslError):
        server.step(b"more")


@given(st.lists(st.binary(max_size=200), max_size=4), st.booleans())
def test_anything_at_all_proves_nothing(messages: list[bytes], well_begun: bool) -> None:
    server = begun("SCRAM-SHA-256") if well_begun else ScramServer("SCRAM-SHA-256", PRIVATE)
    for message in messages:
        try:
            outcome = server.step(message)
        except SaslError:
            return
        if isinstance(outcome, KeysWanted):
            server.challenge(keys("SCRAM-SHA-256"))
        else:
            assert isinstance(outcome, Proof)
            assert not outcome.right
            return


# ── channel binding ──────────────────────────────────────────────────────────────────────────────────

BINDINGS = {"tls-server-end-point": b"hash of a certificate", "tls-unique": b"first Finished"}
BOUND = Channel(True, BINDINGS.get, binds=True)
PENCIL = {"mechanism": "SCRAM-SHA-256", "login": "user", "password": "pencil"}


def played(client: ScramClient, server: ScramServer) -> Proof:
    """The whole exchange, or as much as there is of it."""
    asked = server.step(client.initial)
    if isinstance(asked, Proof):
        return asked
    assert asked == KeysWanted("user", "SCRAM-SHA-256")
    outcome = server.step(client.final(server.challenge(keys("SCRAM-SHA-256"))))
    if isinstance(outcome, bytes):
        assert client.is_the_server(outcome)
        outcome = server.step(b"")
    assert isinstance(outcome, Proof)
    return outcome


@pytest.mark.parametrize("type", BINDINGS)
def test_who_sees_the_same_connection_gets_in(type: str) -> None:
    client = ScramClient(**PENCIL, binding=(type, BINDINGS[type]))
    assert played(client, ScramServer("SCRAM-SHA-256-PLUS", BOUND)).right


@pytest.mark.parametrize("type", BINDINGS)
def test_who_sees_another_connection_does_not_though_the_password_is_right(type: str) -> None:
    """RFC 5802 §6: somebody in between has a connection to each side."""
    client = ScramClient(**PENCIL, binding=(type, b"another"))
    proof = played(client, ScramServer("SCRAM-SHA-256-PLUS", BOUND))
    assert not proof.right
    assert proof.suspicion


def test_a_header_that_was_changed_on_its_way_is_noticed() -> None:
    """The client said `y`, somebody made `n` of it, so that we do not ask why."""
    client = ScramClient(**PENCIL, flag="y")
    server = ScramServer("SCRAM-SHA-256", BOUND, could_bind=True)
    server.step(b"n" + client.initial[1:])
    proof = server.step(client.final(server.challenge(keys("SCRAM-SHA-256"))))
    assert isinstance(proof, Proof)
    assert not proof.right
    assert proof.suspicion


def test_a_client_that_was_not_shown_our_offer_is_not_let_in() -> None:
    """RFC 5802 §6: `y` where -PLUS was offered means that somebody has struck it out."""
    client = ScramClient(**PENCIL, flag="y")
    assert played(client, ScramServer("SCRAM-SHA-256", BOUND, could_bind=True)).suspicion
    assert played(client, ScramServer("SCRAM-SHA-256", BOUND, could_bind=False)).right


def test_a_client_that_knows_no_binding_gets_in_without() -> None:
    assert played(ScramClient(**PENCIL), ScramServer("SCRAM-SHA-256", BOUND, could_bind=True)).right


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        ("SCRAM-SHA-256", b"p=tls-unique,,n=user,r=x"),
        ("SCRAM-SHA-256-PLUS", b"n,,n=user,r=x"),
        ("SCRAM-SHA-256-PLUS", b"y,,n=user,r=x"),
        ("SCRAM-SHA-256-PLUS", b"p=tls-exporter,,n=user,r=x"),
        ("SCRAM-SHA-256-PLUS", b"p=,,n=user,r=x"),
        ("SCRAM-SHA-256-PLUS", b"p=\xff,,n=user,r=x"),
    ],
)
def test_the_flag_must_fit_the_mechanism(mechanism: str, message: bytes) -> None:
    with pytest.raises(SaslError):
        ScramServer(mechanism, BOUND).step(message)
