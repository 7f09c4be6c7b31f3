"""Letters put together at random from the stuff of strange ones, the same for the same seed."""

from __future__ import annotations

from random import Random

_BOUNDARIES = (b"a", b"ab", b"b", b"aa", b"=_1")
_TEXTS = (
    b"text\r\n", b"text\r\n", b"\r\n", b"--\r\n", b"----\r\n", b"two\r\nlines\r\n", b"x --a\r\n",
    b"=C3=A4\r\n", b"\xe4 8-bit\r\n", b"Comments: in a body\r\n", b"x" * 2000 + b"\r\n",
)  # fmt: skip
_BEHIND_BOUNDARIES = (b"", b"", b"", b"", b"--", b"--", b" ", b"x", b"-- ")
_TYPES = (
    b"text/html; charset=utf-8",
    b"text/plain; charset=x; format=flowed",
    b"message/rfc822",
    b"application/octet-stream; name=x",
    b"message/delivery-status",
    b'image/png;\r\n\tname="a b"',
)
_FIELDS = (
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Disposition: attachment; filename*0=a; filename*1=b\r\n",
    b"Content-ID: <1@north.test>\r\n",
    b"Content-Description: =?utf-8?q?=C3=A4?=\r\n",
    b"Content-Language: de, en\r\n",
    b"Content-Location: a\r\n",
    b"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\n",
    b"Subject: a subject\r\n",
    b"From: Alice <alice@north.test>\r\n",
    b"To: friends: bob@south.test, Carol <carol@west.test>;\r\n",
    b'Cc: "D. E." <d@e.test>,\r\n f@g.test (F)\r\n',
    b"Date: Sat, 14 Mar 2026 15:09:26 +0000\r\n",
    b"Message-ID: <2@north.test>\r\n",
    b"X:y\r\n",
)


def letters(seed: int, count: int = 150) -> dict[str, bytes]:
    """A mailbox of letters, by number."""
    random = Random(seed)
    return {f"seed {seed}, letter {number}": letter(random) for number in range(count)}


def letter(random: Random) -> bytes:
    """One letter; about half of them are multiparts whose parts can be told apart."""
    pieces = [_header(random)]
    for _ in range(random.randrange(25)):
        kind = random.random()
        if kind < 0.5:
            boundary, behind = random.choice(_BOUNDARIES), random.choice(_BEHIND_BOUNDARIES)
            pieces.append(b"--%b%b\r\n" % (boundary, behind))
        if kind < 0.4:
            pieces.append(_header(random))
        if kind > 0.3:
            pieces.append(random.choice(_TEXTS))
    return b"".join(pieces)


def _header(random: Random) -> bytes:
    """Of a letter or part; now and then the empty line is missing."""
    fields = [b"MIME-Version: 1.0\r\n", *random.sample(_FIELDS, random.choice((0, 0, 0, 1, 2, 4)))]
    kind = random.random()
    if kind < 0.5:
        subtype = random.choice((b"mixed", b"alternative", b"digest"))
        written = b"Content-Type: multipart/%b; boundary=%b\r\n"
        fields.append(written % (subtype, b'"%b"' % random.choice(_BOUNDARIES)))
    elif kind < 0.9:
        fields.append(b"Content-Type: %b\r\n" % random.choice(_TYPES))
    random.shuffle(fields)
    return b"".join(fields) + (b"\r\n" if random.random() < 0.9 else b"")
