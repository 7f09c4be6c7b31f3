"""Thunderbird: an account by IMAP and submission, as its user has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import environment
from tests.clients.person import Person
from tests.clients.thunderbird import Thunderbird
from tests.servers import ServeProcess, until

pytestmark = pytest.mark.debian("thunderbird")

READ = """
const { MsgHdrToMimeMessage } =
  ChromeUtils.importESModule("resource:///modules/gloda/MimeMessage.sys.mjs");
const message = messages(inbox()).find(one => one.mime2DecodedSubject == arguments[0]);
return await new Promise(resolve => MsgHdrToMimeMessage(
  message, null, (header, mime) => resolve(mime.coerceBodyToPlaintext(header.folder)), true));
"""
SEND = """
const fields =
  Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
const account = MailServices.accounts.defaultAccount;
fields.from = account.defaultIdentity.email;
[fields.to, fields.subject] = arguments;
const send = Cc["@mozilla.org/messengercompose/send;1"].createInstance(Ci.nsIMsgSend);
return await once(listener => send.createAndSendMessage(
  null, account.defaultIdentity, account.key, fields, false, false, Ci.nsIMsgCompDeliverMode.Now, null,
  "text/plain", arguments[2], null, null, listener, null, "", Ci.nsIMsgCompType.New));
"""
SEARCH = """
const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, inbox());
const term = session.createTerm(), value = term.value;
[value.attrib, value.str] = [Ci.nsMsgSearchAttrib.Body, arguments[0]];
[term.attrib, term.value, term.op, term.booleanAnd] = [value.attrib, value, Ci.nsMsgSearchOp.Contains, true];
session.appendTerm(term);
const hits = [];
await once(listener => {
  listener.onSearchHit = hit => hits.push(hit.mime2DecodedSubject);
  session.registerListener(listener);
  session.search(null);
});
return hits;
"""
MOVE = """
const moved = messages(inbox()).filter(one => one.mime2DecodedSubject == arguments[0]);
await once(listener => MailServices.copy.copyMessages(
  inbox(), moved, named(arguments[1]), true, listener, null, false));
"""
SUBJECTS = """
const folder = named(arguments[0]);
return folder && messages(folder).map(one => one.mime2DecodedSubject).sort();
"""
USES = """
const uses = ["Inbox", "Archive", "Drafts", "Junk", "SentMail", "Trash"];
return Object.fromEntries(server().rootFolder.descendants.map(
  folder => [folder.name, uses.find(use => folder.getFlag(Ci.nsMsgFolderFlags[use]))]));
"""


@pytest.fixture
def mail(server: ServeProcess, ca: Path, home: Path, alice: Person) -> Iterator[Thunderbird]:
    """Alice's; it knows the folders, and two letters in INBOX."""
    alice.given(["one", "two"])
    with Thunderbird(home, environment(home)) as running:
        imap, submission = (server.address(name)[1] for name in ("imaps", "submission"))
        running.set_up(alice.address, alice.password, imap, submission, ca.read_text())
        running.run("server().performBiff(null)")
        until(lambda: len(running.run(USES)) == 6, seconds=60, what="all folders")
        shows(running, "INBOX", ["one", "two"])
        yield running


def shows(mail: Thunderbird, folder: str, subjects: list[str]) -> None:
    """It does, within a while."""
    until(lambda: mail.run(SUBJECTS, folder) == subjects, seconds=60, what=f"{folder} with {subjects}")


def test_it_knows_what_each_folder_is_for(mail: Thunderbird) -> None:
    assert mail.run(USES) == {
        "INBOX": "Inbox",
        "Archive": "Archive",
        "Drafts": "Drafts",
        "Junk": "Junk",
        "Sent": "SentMail",
        "Trash": "Trash",
    }


def test_letters_are_read_searched_flagged_moved_and_deleted(mail: Thunderbird, alice: Person) -> None:
    assert mail.run(READ, "two") == "Text of two.\n"
    assert mail.run(SEARCH, "Text of one") == ["one"]

    mail.run("inbox().markMessagesFlagged(messages(inbox()).slice(0, 1), true)")
    until(lambda: any("\\Flagged" in flags for flags in alice.flags()), what="the flag on the server")

    mail.run(MOVE, "one", "Archive")
    assert alice.subjects() == ["two"]
    assert alice.subjects("Archive") == ["one"]

    mail.run("await once(end => inbox().deleteMessages(messages(inbox()), null, false, false, end, false))")
    assert alice.subjects() == []
    assert alice.subjects("Trash") == ["two"]


def test_a_letter_is_sent_and_kept_in_sent(mail: Thunderbird, alice: Person, bob: Person) -> None:
    mail.run(SEND, bob.address, "Grüße vom 驛站", "Bis übermorgen.\r\n")

    until(lambda: bob.subjects(), what="the letter")
    (letter,) = bob.letters()
    assert letter["Subject"] == "Grüße vom 驛站"
    assert letter["From"] == alice.address
    assert letter.get_content() == "Bis übermorgen.\n"
    assert alice.subjects("Sent") == ["Grüße vom 驛站"]


def test_what_others_do_is_shown_without_being_asked_for(mail: Thunderbird, alice: Person) -> None:
    """IDLE."""
    mail.run("await open(inbox())")
    until(lambda: mail.idles("INBOX"), seconds=60, what="IDLE")
    alice.given(["three"])
    shows(mail, "INBOX", ["one", "three", "two"])

    until(lambda: mail.idles("INBOX"), seconds=60, what="IDLE")
    with alice.imap() as client:
        client.store("1", "+FLAGS", r"\Deleted")
        client.expunge()
    shows(mail, "INBOX", ["three", "two"])
