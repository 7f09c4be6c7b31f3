"""Programs that people use: mbsync, mutt and curl against a server on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

import pytest

from tests.unit.access.conftest import PREFIX, Server
from tests.unit.access.test_sessions import Client

LETTER = b"From: alice@example.net\r\nSubject: number %d\r\nMessage-ID: <%d@example.net>\r\n\r\nHello\r\n"


async def run(*command: str, home: Path, seconds: float = 60.0) -> str:
    """Output of a program that must succeed."""
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd=home,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == 0, output.decode("utf-8", "replace")
    return output.decode("utf-8", "replace")


def mbsync_configuration(home: Path, port: int) -> Path:
    path = home / "mbsyncrc"
    (home / "Mail").mkdir()
    path.write_text(
        f"IMAPAccount posthouse\nHost 127.0.0.1\nPort {port}\nUser bob\nPass secret\nSSLType None\n"
        "AuthMechs LOGIN\n\nIMAPStore far\nAccount posthouse\n\n"
        f"MaildirStore near\nPath {home}/Mail/\nInbox {home}/Mail/INBOX\nSubFolders Verbatim\n\n"
        "Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nRemove Both\n"
        "SyncState *\nCopyArrivalDate yes\n"
    )
    return path


@pytest.mark.debian("mbsync")
async def test_mbsync_keeps_both_sides_alike(server: Server, tmp_path: Path) -> None:
    # given mail on both sides
    home = tmp_path / "home"
    home.mkdir()
    for number in range(200):
        await server.deliver(LETTER % (number, number))
    command = ("mbsync", "-c", str(mbsync_configuration(home, server.imap_port)), "-a")
    await run(*command, home=home)
    inbox = home / "Mail" / "INBOX"
    found = sorted((inbox / "new").iterdir()) + sorted((inbox / "cur").iterdir())
    assert len(found) == 200
    assert {path.name for path in (home / "Mail").iterdir()} >= {"Archive", "Drafts", "Sent", "Trash"}
    assert (PREFIX + LETTER % (0, 0)).replace(b"\r\n", b"\n")[:40] in found[0].read_bytes()
    # when flags, new and removed messages come on either side
    first, second = found[0], found[1]
    first.rename(inbox / "cur" / (first.name.partition(":")[0] + ":2,FS"))
    second.unlink()
    (home / "Mail" / "Sent" / "cur" / "1.sent:2,S").write_bytes(b"Subject: sent\n\nfrom here\n")
    async with Client(server) as client:
        await client.do("SELECT INBOX")
        await client.do("STORE 200 +FLAGS.SILENT (\\Deleted)")
        await client.do("STORE 199 +FLAGS.SILENT (\\Answered)")
        await client.do("EXPUNGE")
        await client.do('CREATE "New/Folder"')
    await server.deliver(LETTER % (500, 500))
    await run(*command, home=home)
    # then they are alike again
    async with Client(server) as client:
        assert "* 199 EXISTS" in await client.do("SELECT INBOX")
        assert (await client.do("SEARCH FLAGGED SEEN"))[0] == "* SEARCH 1"
        assert "* 1 EXISTS" in await client.do("SELECT Sent")
        assert (await client.do('SEARCH BODY "from here"'))[0] == "* SEARCH 1"
    near = [path.name for part in ("cur", "new") for path in (inbox / part).iterdir()]
    assert len(near) == 199
    assert sum(bool(re.search(r":2,.*R", name)) for name in near) == 1
    assert (home / "Mail" / "New" / "Folder").is_dir()


@pytest.mark.debian("curl")
async def test_curl_reads_by_imap_and_pop3(server: Server, tmp_path: Path) -> None:
    await server.deliver(LETTER % (1, 1))
    imap, pop3 = (
        f"imap://127.0.0.1:{server.imap_port}",
        f"pop3://127.0.0.1:{server.pop3_port}",
    )
    read = ("curl", "-sS", "--user", "bob:secret")
    assert "number 1" in await run(*read, f"{imap}/INBOX;UID=1", home=tmp_path)
    assert '"Sent"' in await run(*read, f"{imap}/", home=tmp_path)
    letter = tmp_path / "letter"
    letter.write_bytes(LETTER % (2, 2))
    await run(*read, "-T", str(letter), f"{imap}/Drafts", home=tmp_path)
    assert "number 2" in await run(*read, f"{imap}/Drafts;UID=1", home=tmp_path)
    assert "number 1" in await run(*read, f"{pop3}/1", home=tmp_path)
    assert await run(*read, f"{pop3}/", home=tmp_path) != ""


@pytest.mark.debian("mutt")
async def test_mutt_saves_a_message_into_another_mailbox(server: Server, tmp_path: Path) -> None:
    await server.deliver(LETTER % (1, 1))
    await server.deliver(LETTER % (2, 2))
    url = f"imap://bob@127.0.0.1:{server.imap_port}"
    configuration = tmp_path / "muttrc"
    configuration.write_text(
        'set imap_pass="secret"\nset ssl_starttls=no\nset ssl_force_tls=no\n'
        f'set folder="{url}/"\nset spoolfile="+INBOX"\n'
        'set imap_authenticators="login"\nset quit=yes\nset delete=yes\nset confirmappend=no\n'
        'set header_cache=""\nset record=""\n'
        'push "<tag-pattern>~s number<enter><tag-prefix><save-message>=Archive<enter><quit>"\n'
    )
    command = f"mutt -F {configuration} -f {url}/INBOX"
    await run("script", "-qec", command, "/dev/null", home=tmp_path, seconds=30)
    async with Client(server) as client:
        assert "* 0 EXISTS" in await client.do("SELECT INBOX")
        assert "* 2 EXISTS" in await client.do("SELECT Archive")
        assert (await client.do("SEARCH SUBJECT number"))[0] == "* SEARCH 1 2"
