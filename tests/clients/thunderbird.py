"""Thunderbird without a screen, steered from outside by Marionette, the protocol its own tests use.

    with Thunderbird(home, ca) as mail:
        mail.set_up(…)
        mail.run("return Services.appinfo.name")

Scripts run with all rights of the program (`chrome` context). One that has to wait returns a promise.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.servers import PATIENCE, until

# Nothing is asked of the user, and nobody outside is asked anything.
_PREFERENCES = {
    "app.donation.eoy.version.viewed": 999,
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "mail.biff.play_sound": False,
    "mail.chat.enabled": False,
    "mail.compose.warn_public_recipients.aggressive": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.rights.version": 1,
    "mail.spotlight.firstRunDone": True,
    "mail.winsearch.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
}

_PRELUDE = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = () => MailServices.accounts.allServers.find(one => one.type == "imap");
const inbox = () => server().rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
const named = name => name == "INBOX" ? inbox() : server().rootFolder.descendants.find(f => f.name == name);
const messages = folder => [...folder.messages];
const once = begin => new Promise((resolve, reject) => begin({
  QueryInterface: ChromeUtils.generateQI(
    ["nsIUrlListener", "nsIMsgCopyServiceListener", "nsIMsgSendListener", "nsIMsgSearchNotify"]),
  end(code) { code ? reject(new Error("0x" + code.toString(16))) : resolve(true); },
  OnStartRunningUrl() {}, OnStopRunningUrl(url, code) { this.end(code); },
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
  onStopCopy(code) { this.end(code); },
  onStartSending() {}, onStatus() {}, onGetDraftFolderURI() {}, onSendNotPerformed() {},
  onTransportSecurityError() {}, onStopSending(id, code) { this.end(code); },
  onSearchHit() {}, onNewSearch() {}, onSearchDone(code) { this.end(code); },
}));
const open = folder =>
  once(listener => folder.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null, listener));
"""

_SET_UP = """
const [address, password, imap, submission, authority] = arguments;
const certificates = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
certificates.addCertFromBase64(authority, "C,C,C");
const login = async (origin) => {
  const found = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  found.init(origin, null, origin, address, password, "", "");
  await Services.logins.addLoginAsync(found);
};
await login("imap://localhost");
await login("smtp://localhost");
const there = MailServices.accounts.createIncomingServer(address, "localhost", "imap");
there.port = imap;
there.socketType = Ci.nsMsgSocketType.SSL;
there.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
const out = MailServices.outgoingServer.createServer("smtp");
out.QueryInterface(Ci.nsISmtpServer);
out.hostname = "localhost";
out.port = submission;
out.username = address;
out.socketType = Ci.nsMsgSocketType.alwaysSTARTTLS;
out.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
const identity = MailServices.accounts.createIdentity();
identity.email = address;
identity.fullName = "Alice";
identity.smtpServerKey = out.key;
identity.fccFolderPickerMode = "0";
const account = MailServices.accounts.createAccount();
account.incomingServer = there;
account.addIdentity(identity);
MailServices.accounts.defaultAccount = account;
MailServices.outgoingServer.defaultServer = out;
return account.key;
"""


class Thunderbird:
    """A fresh profile in `home`. Ends with `with`."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self._profile = home / "profile"
        self._profile.mkdir()
        self._port_file = self._profile / "MarionetteActivePort"
        lines = [
            f"user_pref({json.dumps(key)}, {json.dumps(value)});"
            for key, value in (_PREFERENCES | {"marionette.port": 0}).items()
        ]
        (self._profile / "user.js").write_text("\n".join(lines))
        self._log = home / "thunderbird.log"
        self._dialogue = home / "dialogue.moz_log"
        self._environment = environment | {
            "MOZ_HEADLESS": "1",
            "MOZ_CRASHREPORTER_DISABLE": "1",
            "MOZ_LOG": "sync,IMAP:4",
            "MOZ_LOG_FILE": str(self._dialogue),
        }
        self._count = 0

    def __enter__(self) -> Thunderbird:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["thunderbird", "--headless", "--profile", self._profile, "--marionette",
                 "--remote-allow-system-access"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )  # fmt: skip
        try:
            self._connect()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._replies.close()
        self._socket.close()
        self._end()

    def idles(self, folder: str) -> bool:
        """Whether it waits, in a folder, for what the server tells; what comes earlier it may overlook."""
        said = re.findall(
            rf":S-{folder}:SendData: (?:\d+ )?(.*)", self._dialogue.read_text("utf-8", "replace")
        )
        return bool(said) and said[-1] == "IDLE"

    def _connect(self) -> None:
        port = until(self._port, seconds=2 * PATIENCE, what="Thunderbird")
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=2 * PATIENCE)
        self._replies = self._socket.makefile("rb")
        self._read()
        self._call("WebDriver:NewSession", capabilities={})
        self._call("WebDriver:SetTimeouts", script=int(2 * PATIENCE * 1000))
        self._call("Marionette:SetContext", value="chrome")

    def _port(self) -> int:
        if self._process.poll() is not None:
            raise AssertionError(self._log.read_text("utf-8", "replace"))
        return int(self._port_file.read_text() or 0) if self._port_file.exists() else 0

    def _end(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    # Marionette: a length, a colon, JSON

    def _read(self) -> Any:
        digits = b""
        while (octet := self._replies.read(1)) != b":":
            assert octet, self._log.read_text("utf-8", "replace")
            digits += octet
        return json.loads(self._replies.read(int(digits)))

    def _call(self, name: str, **parameters: Any) -> Any:
        self._count += 1
        message = json.dumps([0, self._count, name, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._read()
        assert error is None, error
        return result

    # What tests say

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a script's `return`; `await` is allowed in it. Raises AssertionError."""
        # An arrow function takes `arguments` from around it.
        whole = f"{_PRELUDE}\nreturn (async () => {{ {script} }})();"
        return self._call("WebDriver:ExecuteScript", script=whole, args=list(arguments))["value"]

    def set_up(self, address: str, password: str, imap: int, submission: int, authority: str) -> None:
        """The account: IMAP with TLS from the start, submission with STARTTLS."""
        der = "".join(line for line in authority.splitlines() if not line.startswith("-"))
        self.run(_SET_UP, address, password, imap, submission, der)
