"""The whole road with the rows on PostgreSQL and large bodies on S3, each a real server."""

from __future__ import annotations

import smtplib
from pathlib import Path

import pytest

from tests.databases import KEY, SECRET, object_store, postgres
from tests.servers import ServeProcess


@pytest.fixture
def database(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return {"url": postgres().fresh(), "blobs": object_store().url(tmp_path.name)}


def test_letters_small_and_large_reach_the_mailbox_as_they_were_sent(tmp_path: Path, database) -> None:
    small = b"Subject: small\r\n\r\nbody\r\n"
    large = b"Subject: large\r\n\r\n" + (b"y" * 70 + b"\r\n") * 4000
    with ServeProcess(tmp_path, {"database": database}) as server:
        # Given two letters that were answered 250, and one to nobody,
        with server.smtp() as client:
            for letter in (small, large):
                assert client.sendmail("alice@north.test", ["bob@north.test"], letter) == {}
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                client.sendmail("alice@north.test", ["nobody@north.test"], small)
        # when the server is killed and started again, then both are there, octet by octet,
        server.kill_worker()
        with server.imap("bob") as client:
            assert client.select("INBOX") == ("OK", [b"2"])
            for number, letter in (("1", small), ("2", large)):
                _, found = client.fetch(number, "(BODY.PEEK[])")
                assert found[0][1].endswith(letter)
            # and can be deleted.
            client.store("1:2", "+FLAGS", "(\\Deleted)")
            assert client.expunge()[0] == "OK"
            assert client.select("INBOX") == ("OK", [b"0"])
    assert not any((tmp_path / "data").rglob("*.db"))
