"""Tokens by OAUTHBEARER and XOAUTH2: the examples of who specified them, and what must not get through."""

from __future__ import annotations

import base64
import json

import pytest

from posthouse.protocol.sasl import SaslError, Token, problem
from posthouse.protocol.sasl.bearer import BearerServer

OF_THE_RFC = (
    b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI"
    b"HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
)  # RFC 7628 §4.1
OF_GOOGLE = (
    b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJ"
    b"oZG1semRHRXVZMjl0Q2cBAQ=="
)


def test_the_example_of_rfc_7628() -> None:
    server = BearerServer("OAUTHBEARER")
    assert server.step(None) == b""
    assert server.step(base64.b64decode(OF_THE_RFC)) == Token(
        "OAUTHBEARER", "user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
    )


def test_the_example_of_google() -> None:
    assert BearerServer("XOAUTH2").step(base64.b64decode(OF_GOOGLE)) == Token(
        "XOAUTH2", "someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
    )


@pytest.mark.parametrize(
    ("message", "identity", "token"),
    [
        (b"n,,\x01auth=Bearer abc\x01\x01", "", "abc"),
        (b"y,,\x01auth=bearer  abc\x01\x01", "", "abc"),
        (b"n,a=a=2Cb=3D,\x01unknown=x\x01Auth=BEARER a.b-c_d~e+f/g==\x01\x01", "a,b=", "a.b-c_d~e+f/g=="),
        (b"n,a=user@example.com,\x01auth=\x01\x01", "user@example.com", ""),  # it asks where to get one
    ],
)
def test_what_oauthbearer_may_look_like(message: bytes, identity: str, token: str) -> None:
    assert BearerServer("OAUTHBEARER").step(message) == Token("OAUTHBEARER", identity, token)


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01",
        b"\x01\x01",
        b"n,,",
        b"n,,\x01",
        b"n,,\x01\x01",
        b"n,,\x01auth=Bearer abc",
        b"n,,\x01host=x\x01\x01",
        b"n,,\x01auth=Bearer abc\x01auth=Bearer def\x01\x01",
        b"n,,\x01auth=Basic abc\x01\x01",
        b"n,,\x01auth=Bearer a b\x01\x01",
        b"n,,\x01auth=Bearer a\x00b\x01\x01",
        b"n,,\x01auth=Bearer a\xc3\xa9\x01\x01",
        b"n,,\x01au1th=Bearer a\x01\x01",
        b"p=tls-unique,,\x01auth=Bearer abc\x01\x01",
        b"n,,x\x01auth=Bearer abc\x01\x01",
        b"n\x01auth=Bearer abc\x01\x01",
        b"user=\x01auth=Bearer abc\x01\x01",
        b"user=\xff\x01auth=Bearer abc\x01\x01",
        b"name=a\x01auth=Bearer abc\x01\x01",
        b"user=a\x01\x01",
    ],
)
def test_what_is_malformed_is_refused(mechanism: str, message: bytes) -> None:
    with pytest.raises(SaslError):
        BearerServer(mechanism).step(message)


def test_a_token_does_not_show() -> None:
    assert "geheim" not in repr(Token("XOAUTH2", "alice", "geheim"))


def test_what_a_client_is_told_of_a_token_that_is_refused() -> None:
    """RFC 7628 §3.2.2; XOAUTH2 in Google's words."""
    where = "https://login.example/.well-known/openid-configuration"
    assert json.loads(problem("OAUTHBEARER", "insufficient_scope", scope="mail", discovery=where)) == {
        "status": "insufficient_scope", "scope": "mail", "openid-configuration": where,
    }  # fmt: skip
    assert json.loads(problem("OAUTHBEARER", "invalid_token")) == {"status": "invalid_token"}
    assert json.loads(problem("XOAUTH2", "invalid_token", scope="mail", discovery=where)) == {
        "status": "401", "schemes": "bearer", "scope": "mail",
    }  # fmt: skip
