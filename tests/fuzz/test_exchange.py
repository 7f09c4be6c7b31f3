"""Files of other mail systems, however broken: read as far as they can be, and nothing escapes."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posthouse.admin.exchange.folders import Crlf, Folder, Item, SourceProblem, lf_form
from posthouse.admin.exchange.maildir import MaildirSource, read_uidlist
from posthouse.admin.exchange.mbox import DIALECTS, MboxSource, MboxTarget

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

pieces = st.sampled_from(
    [
        b"From a@b Thu Jul 13 12:26:40 2017\n",
        b"From \n",
        b">From x\n",
        b"Subject: x\n",
        b"Content-Length: 5\n",
        b"Content-Length: 99999999999999\n",
        b"X-UID: 7\n",
        b"X-IMAPbase: 5 9\n",
        b"Status: RO\n",
        b"\n",
        b"\r\n",
        b"text",
        b" folded\n",
        b"\0\xff",
    ]
)


async def everything(source) -> list[bytes]:
    found: list[bytes] = []
    for folder in await source.folders():
        async for window in source.windows(folder):
            held = b""
            async for piece in source.contents(folder, window):
                if isinstance(piece, Item):
                    found.append(held)
                    held = b""
                else:
                    held += piece
    return found


@QUICK
@given(st.lists(pieces, max_size=30), st.sampled_from(DIALECTS))
def test_any_mbox_is_read_or_refused(tmp_path: Path, parts: list[bytes], dialect: str) -> None:
    path = tmp_path / "mail"
    path.write_bytes(b"".join(parts))
    try:
        asyncio.run(everything(MboxSource(path, dialect)))
    except SourceProblem:
        assert not parts or not b"".join(parts).startswith(b"From ")


lines = st.lists(
    st.sampled_from([b"From me\n", b">From\n", b">>From x\n", b"\n", b"text\n", b"Status: x\n", b" y\n"]),
    max_size=12,
)


@QUICK
@given(st.lists(lines, min_size=1, max_size=4))
def test_what_is_written_as_mbox_is_read_back(tmp_path: Path, bodies: list[list[bytes]]) -> None:
    letters = [b"Subject: x\n\n" + b"".join(body) for body in bodies]
    target = MboxTarget(_fresh(tmp_path))
    target.begin(Folder("INBOX", None, None, True, 5, 100))
    for number, letter in enumerate(letters, 1):
        target.add(Item((), None, number, 0, (), 1e9), letter)
    target.end()

    read = asyncio.run(everything(MboxSource(tmp_path / "out" / "INBOX.mbox")))

    assert read == [letter.replace(b"\n", b"\r\n") for letter in letters]


def _fresh(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    (out / "INBOX.mbox").unlink(missing_ok=True)
    return out


@QUICK
@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["3 V5 N9\n", "1 5 9\n", "7 :a\n", "x", "9 b:c\n"])).map("".join)
)
def test_any_uidlist_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "dovecot-uidlist").write_text(text, "utf-8", "surrogatepass")
    uidvalidity, uidnext, uids = read_uidlist(tmp_path)
    assert uidvalidity >= 0
    assert all(uid >= 0 for uid in (uidnext, *uids.values()))


@QUICK
@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n"]), max_size=20), st.lists(st.integers(0, 40)))
def test_a_message_is_the_same_after_it_was_a_file(parts: list[bytes], cuts: list[int]) -> None:
    data = b"first\r\n" + b"".join(parts)
    file = lf_form(data)
    crlf = Crlf()
    edges = [0, *sorted(cuts), len(file)]
    assert b"".join(crlf.feed(file[a:b]) for a, b in pairwise(edges)) == data


@pytest.mark.parametrize("name", [".a", ".&", ".&AAA", ".\udcff", ".a..b"])
def test_strange_folder_names_do_no_harm(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path, tmp_path / name):
        (folder / "cur").mkdir(parents=True, exist_ok=True)
    assert asyncio.run(everything(MaildirSource(tmp_path))) == []
