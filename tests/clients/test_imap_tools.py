"""imap_tools, a Python library above imaplib, as scripts use it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import date
from email.message import EmailMessage

import pytest
from imap_tools import AND, OR, A, MailBox, MailBoxStartTls, MailMessageFlags

from tests.clients.person import Person
from tests.servers import ServeProcess


@pytest.fixture(params=["imaps", "imap"])
def box(
    server: ServeProcess, trusting: ssl.SSLContext, alice: Person, request: pytest.FixtureRequest
) -> Iterator[MailBox]:
    _, port = server.address(request.param)
    kind = MailBox if request.param == "imaps" else MailBoxStartTls
    with kind("localhost", port, ssl_context=trusting).login(alice.address, alice.password) as opened:
        yield opened


def invoice(number: int) -> bytes:
    letter = EmailMessage()
    letter["From"] = "Jürgen <jurgen@south.test>"
    letter["To"] = "user@north.test"
    letter["Date"] = f"Sat, {10 + number} Mar 2026 15:09:26 +0000"
    letter["Subject"] = f"Rechnung Nr. {number} für März"
    letter.set_content(f"Betrag: {number} €\n")
    letter.add_alternative(f"<p>Betrag: <b>{number}</b> €</p>", subtype="html")
    letter.add_attachment(bytes(range(256)), maintype="application", subtype="pdf", filename=f"ü{number}.pdf")
    return letter.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def test_letters_are_found_and_read_with_their_attachments(box: MailBox) -> None:
    for number in (1, 2, 3):
        box.append(invoice(number), "INBOX", dt=None, flag_set=[MailMessageFlags.SEEN] if number == 1 else [])

    found = list(box.fetch(A(seen=False, sent_date_gte=date(2026, 3, 13)), mark_seen=False))

    (message,) = found
    assert message.subject == "Rechnung Nr. 3 für März"
    assert message.from_values is not None
    assert message.from_values.name == "Jürgen"
    assert message.text == "Betrag: 3 €\r\n"
    assert "<b>3</b>" in message.html
    (attachment,) = message.attachments
    assert (attachment.filename, attachment.payload) == ("ü3.pdf", bytes(range(256)))
    assert box.uids(OR(subject="Nr. 1", text="nothing like it")) == ["1"]
    assert box.uids(AND(from_="jurgen", body="Betrag"), charset="UTF-8") == ["1", "2", "3"]


def test_letters_are_flagged_copied_moved_and_deleted_in_bulk(box: MailBox, alice: Person) -> None:
    alice.given([f"letter {number}" for number in range(30)])
    box.folder.set("INBOX")

    uids = box.uids()
    box.flag(uids[:10], [MailMessageFlags.FLAGGED, "$Work"], True)
    box.copy(uids[:5], "Archive")
    box.move(uids[5:20], "Trash")
    box.delete(uids[20:])

    assert box.uids() == uids[:5]
    assert box.folder.status("Archive", ["MESSAGES"]) == {"MESSAGES": 5}
    assert box.folder.status("Trash", ["MESSAGES"]) == {"MESSAGES": 15}
    assert alice.flags("Archive") == [{"\\Flagged", "$Work"}] * 5


def test_folders(box: MailBox) -> None:
    box.folder.create("Kunden/Jürgen & Söhne")
    box.folder.rename("Kunden/Jürgen & Söhne", "Kunden/驛站")
    assert box.folder.exists("Kunden/驛站")
    assert {info.name for info in box.folder.list("Kunden")} >= {"Kunden/驛站"}
    box.folder.subscribe("Kunden/驛站", True)
    assert [info.name for info in box.folder.list(subscribed_only=True) if "Kunden" in info.name] == [
        "Kunden/驛站"
    ]
    box.folder.delete("Kunden/驛站")
    assert not box.folder.exists("Kunden/驛站")


def test_what_arrives_is_told_while_it_idles(box: MailBox, alice: Person) -> None:
    box.folder.set("INBOX")
    box.idle.start()
    alice.given(["news"])
    told = box.idle.poll(timeout=30)
    box.idle.stop()
    assert b"* 1 EXISTS" in told
