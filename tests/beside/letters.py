"""Strange mail: letters as they come from broken programs, old ones, and from those who mean harm."""

from __future__ import annotations

HEAD = b"From: Alice <alice@north.test>\r\nTo: bob@south.test\r\nDate: Sat, 14 Mar 2026 15:09:26 +0100\r\n"


def lines(text: str) -> bytes:
    """With CRLF; characters below U+0100 are octets."""
    return text.replace("\n", "\r\n").encode("latin-1")


def mixed(body: str, boundary: str = "b", kind: str = "mixed") -> bytes:
    """A letter that is a multipart."""
    written = f"MIME-Version: 1.0\nContent-Type: multipart/{kind}; boundary={boundary}\n\n{body}"
    return HEAD + lines(written)


def typed(content_type: str, body: str = "text\n") -> bytes:
    """A letter with this Content-Type, and what other fields follow it."""
    return HEAD + lines(f"MIME-Version: 1.0\nContent-Type: {content_type}\n\n{body}")


def fields(text: str) -> bytes:
    """A letter that has these fields only."""
    return lines(f"{text}\n\nbody\n")


_TEXT = "Content-Type: text/plain\n\n"
_LETTER = "Content-Type: message/rfc822\n\n"
_INNER = "From: Carol <carol@west.test>\nSubject: inner\n"

BOUNDARIES = {
    "ordinary": mixed(f"--b\n{_TEXT}one\n--b\n{_TEXT}two\nthree\n--b--\n"),
    "preamble and epilogue": mixed(f"pre\namble\n\n--b\n{_TEXT}one\n--b--\nepi\n\nlogue\n"),
    "never closed": mixed(f"--b\n{_TEXT}one\n--b\n{_TEXT}two\n"),
    "never closed, no line end": mixed(f"--b\n{_TEXT}one\n--b\n{_TEXT}two"),
    "never opened": mixed("only text\n"),
    "no body at all": HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
    "no empty line": HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n",
    "closed only": mixed("--b--\n"),
    "closed twice": mixed("--b\n\none\n--b--\n--b--\nmore\n"),
    "opened behind its end": mixed("--b\n\none\n--b--\n--b\n\nghost\n--b--\n"),
    "white space behind": mixed("--b  \n\none\n--b\t\n\ntwo\n--b-- \n"),
    "white space before": mixed(" --b\n\none\n --b--\n"),
    "text behind": mixed("--bxyz\n\none\n--b--xyz\n"),
    "quoted": mixed("--a b=c?(d)\n\none\n--a b=c?(d)--\n", '"a b=c?(d)"'),
    "quoted pair": mixed("--a\"b\n\none\n--a\"b--\n", '"a\\"b"'),
    "hyphens": mixed("------\n\none\n------\n\ntwo\n--------\n", '"----"'),
    "of 70 octets": mixed(f"--{'x' * 70}\n\none\n--{'x' * 70}--\n", "x" * 70),
    "too long": mixed(f"--{'x' * 200}\n\none\n--{'x' * 200}--\n", "x" * 200),
    "case matters": mixed("--B\n\none\n--b\n\ntwo\n--B--\n"),
    "inner and outer the same": mixed(
        "--b\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--b--\n\n--b\n\ntwo\n--b--\n"
    ),
    "outer a prefix of inner": mixed(
        "--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\none\n--bb--\n\n--b\n\ntwo\n--b--\n"
    ),
    "inner a prefix of outer": mixed(
        "--bb\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--b--\n\n--bb\n\ntwo\n--bb--\n",
        "bb",
    ),
    "inner's end begins as the outer": mixed(
        "--b-\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--b--\n--b-\n\ntwo\n--b---\n",
        "b-",
    ),
    "inner never closed": mixed(
        "--b\nContent-Type: multipart/alternative; boundary=i\n\n--i\n\none\n--i\n\ntwo\n"
        "--b\n\nthree\n--b--\n"
    ),
    "three levels, all closed at once": mixed(
        "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n"
        "Content-Type: multipart/mixed; boundary=d\n\n--d\n\none\n--b--\n"
    ),
    "empty lines around": mixed("\n\n--b\n\n\n\none\n\n\n--b\n\n\n\n--b--\n\n\n"),
    "two parameters": mixed("--b\n\none\n--b--\n", "b; boundary=c"),
    "none": typed("multipart/mixed", "--b\n\none\n--b--\n"),
    "in capitals": typed('MULTIPART/MIXED; BOUNDARY="b"', "--b\n\none\n--b--\n"),
    "folded": typed('multipart/mixed;\n\tcharset="utf-8";\n boundary="b"', "--b\n\none\n--b--\n"),
    "continued (RFC 2231)": typed(
        "multipart/mixed; boundary*0=ab; boundary*1=cd", "--abcd\n\none\n--abcd--\n"
    ),
    "extended (RFC 2231)": typed("multipart/mixed; boundary*=us-ascii''ab", "--ab\n\none\n--ab--\n"),
}  # fmt: skip

PARTS = {
    "text only": typed("text/plain"),
    "no MIME fields": HEAD + b"\r\nbody\r\nof two lines\r\n",
    "no line end": HEAD + b"\r\nbody",
    "empty part": mixed("--b\n\n--b\n\ntwo\n--b--\n"),
    "empty part without a line": mixed("--b\n--b\n\ntwo\n--b--\n"),
    "header without an empty line": mixed("--b\nContent-Type: text/html\nX: y\n--b\n\ntwo\n--b--\n"),
    "line that is no field": mixed("--b\ngarbage\nContent-Type: text/html\n\nx\n--b--\n"),
    "unnamed field": mixed("--b\n: empty\nContent-Type: text/html\n\nx\n--b--\n"),
    "two Content-Types": mixed("--b\nContent-Type: text/html\nContent-Type: image/png\n\nx\n--b--\n"),
    "folded to the utmost": mixed(
        "--b\nContent-Type:\n text/html\n ;\n charset\n =\n utf-8\n"
        "Content-Disposition\n :\n inline\n\nx\n--b--\n"
    ),
    "every field": mixed(
        "--b\nContent-Type: text/html; charset=utf-8\nContent-ID: <1@north.test>\n"
        "Content-Description: a =?utf-8?q?t=C3=A4xt?=\nContent-Transfer-Encoding: QUOTED-PRINTABLE\n"
        "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\n"
        "Content-Disposition: Attachment; filename=\"a b.html\"; size=4\n"
        "Content-Language: en, de-AT\nContent-Location: http://north.test/a\n b\n\nx=\ny\n--b--\n"
    ),
    "fields of the letter itself": HEAD
    + lines(
        "MIME-Version: 1.0\nContent-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n"
        "Content-ID: <1@north.test>\nContent-Disposition: inline\nContent-Language: fr\n"
        "Content-MD5: abc=\nContent-Location: x\nContent-Description: y\n\nYQ==\n"
    ),
    "MD5 of a multipart": mixed("--b\nContent-MD5: abc\n\nx\n--b--\n"),
    "disposition of a multipart": HEAD
    + lines(
        "Content-Type: multipart/mixed; boundary=b; charset=x\nContent-Disposition: inline; filename=m\n"
        "Content-Language: (comment) en\nContent-Location: here\n\n--b\n\nx\n--b--\n"
    ),
    "empty fields": mixed(
        "--b\nContent-Type:\nContent-ID:\nContent-Description:\nContent-Transfer-Encoding:\n"
        "Content-Disposition:\nContent-Language:\nContent-Location:\nContent-MD5:\n\nx\n--b--\n"
    ),
    "unknown encoding": mixed("--b\nContent-Transfer-Encoding: x-uuencode\n\nx\n--b--\n"),
    "encoding with a comment": mixed("--b\nContent-Transfer-Encoding: (c) base64 (d)\n\neA==\n--b--\n"),
    "multipart in base64": mixed(
        "--b\nContent-Type: multipart/mixed; boundary=c\nContent-Transfer-Encoding: base64\n\n"
        "--c\n\nx\n--c--\n--b--\n"
    ),
    "many small": mixed("".join(f"--b\nX: {number}\n\n{number}\n" for number in range(60)) + "--b--\n"),
    "line of 100 kB": mixed(f"--b\n{_TEXT}{'x' * 100_000}\n--b\n{_TEXT}{'y' * 99_999}--b\n--b--\n"),
    "header of 100 kB": typed(f"text/plain\nX-Long: {'x' * 100_000}"),
}  # fmt: skip

NESTED = {
    "letter in a letter": typed("message/rfc822", _INNER + "\ninner text\n"),
    "letter in a part": mixed(f"--b\n{_LETTER}{_INNER}\ninner text\n--b\n{_TEXT}two\n--b--\n"),
    "multipart in a letter in a part": mixed(
        f"--b\n{_LETTER}{_INNER}Content-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--c\n{_LETTER}"
        f"{_INNER}\ndeep\n--c--\n--b--\n"
    ),
    "multipart in a letter, ended from without": mixed(
        f"--b\n{_LETTER}{_INNER}Content-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--b\n\ntwo\n--b--\n"
    ),
    "empty letter": mixed(f"--b\n{_LETTER}--b--\n"),
    "empty letter, with a line": mixed(f"--b\n{_LETTER}\n--b--\n"),
    "letter of a header": mixed(f"--b\n{_LETTER}{_INNER}--b--\n"),
    "letter of a header and an empty line": mixed(f"--b\n{_LETTER}{_INNER}\n--b--\n"),
    "letter of a body": mixed(f"--b\n{_LETTER}\ntext\n--b--\n"),
    "letter that begins with text": mixed(f"--b\n{_LETTER}text\nwithout a colon\n\nmore\n--b--\n"),
    "nothing of a letter": mixed("--b\nContent-Type: message/rfc822\n--b--\n"),
    "letter in base64": mixed(
        "--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
        "U3ViamVjdDogeA0KDQp5DQo=\n--b--\n"
    ),
    "letter with parameters": mixed(
        f"--b\nContent-Type: message/rfc822; name=x.eml\n"
        f"Content-Disposition: attachment\n\n{_INNER}\nx\n--b--\n"
    ),
    "digest": mixed(f"--b\n\n{_INNER}\none\n--b\n{_TEXT}two\n--b\n\n{_INNER}\nthree\n--b--\n", "b", "digest"),
    "digest with a preamble": mixed(f"pre\n--b\n\n{_INNER}\none\n--b--\npost\n", "b", "digest"),
    "report": mixed(
        f"--b\n{_TEXT}failed\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns;x\n\n"
        "Action: failed\n--b\nContent-Type: text/rfc822-headers\n\nSubject: x\n--b--\n",
        "b",
        "report",
    ),
    "message/partial": typed("message/partial; number=1; total=2; id=x", _INNER + "\nx\n"),
    "message/external-body": mixed(
        "--b\nContent-Type: message/external-body; access-type=local-file; name=x\n\n"
        "Content-Type: text/plain\n\nghost\n--b--\n"
    ),
    "ten letters deep": typed(
        "message/rfc822",
        "".join(f"Subject: {n}\nContent-Type: message/rfc822\n\n" for n in range(10)) + "end\n",
    ),
    "ten multiparts deep": mixed(
        "".join(f"--b{n}\nContent-Type: multipart/mixed; boundary=b{n + 1}\n\n" for n in range(10))
        + "--b10\n\nend\n" + "".join(f"--b{10 - n}--\n" for n in range(11)),
        "b0",
    ),
    "signed": mixed(
        f"--b\n{_TEXT}signed\n--b\nContent-Type: application/pgp-signature\n\n-----BEGIN\n--b--\n",
        'b; micalg=pgp-sha256; protocol="application/pgp-signature"', "signed",
    ),
}  # fmt: skip

TYPES = {
    f"type {value!r}": typed(value)
    for value in (
        "",
        "text",
        "text/",
        "/plain",
        "text/plain;",
        "text/plain; ; ;charset=utf-8",
        "text / html",
        "TEXT/HTML; CHARSET=UTF-8",
        "text/html charset=utf-8",
        "(a (nested) comment) text/html (another); charset=utf-8 (third)",
        "text/plain; charset",
        "text/plain; charset=",
        'text/plain; charset=""',
        "text/plain; charset = utf-8",
        'text/plain; name="unclosed',
        'text/plain; name="a\\"b\\\\c"',
        "text/plain; name=a b c",
        "text/plain; name=a; name=b",
        "text/plain; format=flowed; delsp=yes",
        "application/x; name*0=a; name*1=b; x=y",
        "application/x; name*1=b; name*0=a",
        "application/x; name*0=a; name*2=c",
        "application/x; name*=utf-8''%C3%A4.txt",
        "application/x; name*=utf-8''%C3%A4.txt; name=a.txt",
        "application/x; name*0*=utf-8'en'%C3%A4; name*1*=%20b; name*2=c",
        "application/x; name==?utf-8?q?=C3=A4?=",
        'application/x; name="=?utf-8?q?=C3=A4?="',
        'application/x; name="\xe4\xf6"',
        "application/x; name=\xe4",
        "application/x; name=a/b@c",
        "x-unknown/y",
        "multipart/mixed; boundary=",
        "text/plain\nContent-Disposition: attachment; filename=a.txt; filename*=utf-8''b.txt",
        "text/plain\nContent-Disposition: attachment; filename*0=a; filename*1=b",
        "text/plain\nContent-Disposition: ; filename=a",
        'text/plain\nContent-Disposition: "inline"',
        "text/plain\nContent-Disposition: form-data; name=x",
        "text/plain\nContent-Language: en-GB",
        "text/plain\nContent-Language: en (English), de,, fr",
        "text/plain\nContent-Language: ,",
        "text/plain\nContent-Location: http://a.test/b c",
        "text/plain\nContent-ID: no brackets",
        "text/plain\nContent-Description: a \t  b",
        "text/plain\nContent-Description: \xe4\xf6\xfc",
    )
}

_ADDRESSES = (
    "alice@north.test",
    "<alice@north.test>",
    "Alice <alice@north.test>",
    '"Alice A." <alice@north.test>',
    '"A \\"quoted\\" B" <alice@north.test>',
    "Alice A. Smith <alice@north.test>",
    "alice@north.test (Alice)",
    "alice@north.test (Alice (nested) A)",
    "(before) alice@north.test",
    "Alice (comment) <alice@north.test>",
    "Alice <alice@north.test> (behind)",
    "alice (a) @ (b) north.test (c)",
    "a@north.test, b@north.test,c@north.test",
    "a@north.test,, ,b@north.test",
    "a@north.test; b@north.test",
    ",",
    "undisclosed-recipients:;",
    "undisclosed recipients: ;",
    "Friends: a@north.test, Bob <b@south.test>;",
    "Friends: a@north.test; , c@west.test",
    "Friends: a@north.test",
    '"A: group": a@north.test;',
    "A:;, B:;",
    "<@a.test,@b.test:alice@north.test>",
    "Alice <@a.test:alice@north.test>",
    '"john doe"@north.test',
    '"a\\"b"@north.test',
    '"a@b"@north.test',
    "a . b @ north . test",
    "alice@[192.0.2.1]",
    "alice@[IPv6:2001:db8::1]",
    "alice",
    "Alice A",
    "Alice <alice>",
    "<>",
    "Alice <>",
    "alice@",
    "@north.test",
    "<@north.test>",
    "a@b@north.test",
    "alice..a@north.test",
    ".alice@north.test",
    "Alice <alice@north.test",
    "Alice alice@north.test>",
    "Alice <<alice@north.test>>",
    "Alice <alice@north.test> Bob <bob@south.test>",
    "=?utf-8?q?J=C3=BCrgen?= <j@north.test>",
    "=?utf-8?q?J=C3=BC?= =?utf-8?q?rgen?= <j@north.test>",
    '"=?utf-8?q?J=C3=BCrgen?=" <j@north.test>',
    "J\xfcrgen <j@north.test>",
    "\xc3\xa4@north.test",
    "j@\xc3\xa4.test",
    "Alice\n <alice@north.test>,\n\tBob <bob@south.test>",
    "Alice,Bob <alice@north.test>",
    'Alice \\"x <alice@north.test>',
    "'alice@north.test' <alice@north.test>",
    "alice@north.test (unclosed",
    '"unclosed <alice@north.test>',
    "mailto:alice@north.test",
    "Alice <mailto:alice@north.test>",
    "  ",
    "()",
    '""',
    '"" <alice@north.test>',
    "Alice [at] north <alice@north.test>",
    "a@b.c <x@y.z>",
    "Dr. Alice: the first <alice@north.test>",
    "alice%north.test@gate.test",
    "north!alice",
)

ADDRESSES = {f"address {value!r}": fields(f"From: {value}\nSubject: x") for value in _ADDRESSES}

HEADERS = {
    "one line end": b"\r\n",
    "text only": b"just text",
    "text lines only": b"just text\r\nmore text\r\n",
    "body only": b"\r\nbody\r\n",
    "header only": HEAD,
    "header only, no line end": HEAD[:-2],
    "an empty line within": HEAD + b"\r\nSubject: body\r\n\r\nmore\r\n",
    "a line of a space": HEAD + b" \r\nSubject: x\r\n\r\nbody\r\n",
    "a space at the beginning": b" From: x@north.test\r\nSubject: x\r\n\r\nbody\r\n",
    "mbox line": b"From alice Sat Mar 14 15:09:26 2026\r\nSubject: x\r\n\r\nbody\r\n",
    "a line that is no field": b"From: a@north.test\r\nno field here\r\nSubject: x\r\n\r\nbody\r\n",
    "space before the colon": fields("From : a@north.test\nSubject\t: x"),
    "no space behind it": fields("From:a@north.test\nSubject:x"),
    "name in capitals": fields("FROM: a@north.test\nsUbJeCt: x"),
    "empty fields": fields("From:\nTo: \nSubject:\nDate:\nMessage-ID:\nIn-Reply-To:"),
    "several of each": fields(
        "From: a@north.test\nFrom: b@north.test\nTo: c@north.test\nTo: d@north.test\n"
        "Subject: one\nSubject: two\n"
        "Date: Sat, 14 Mar 2026 15:09:26 +0000\nDate: Sun, 15 Mar 2026 15:09:26 +0000\n"
        "Message-ID: <1@x>\nMessage-ID: <2@x>\nSender: s@x\nSender: t@x\nReply-To: r@x\nReply-To: q@x"
    ),
    "all of an envelope": fields(
        "From: a@north.test\nSender: s@north.test\nReply-To: r@north.test\nTo: t@x\nCc: c@x\nBcc: b@x\n"
        "In-Reply-To: <0@x> <1@x>\nMessage-ID: <2@x>\nSubject: s\nDate: Sat, 14 Mar 2026 15:09:26 +0000"
    ),
    "folded everywhere": fields(
        "From:\n Alice\n <a@north.test>\nSubject: a\n b\n\tc\n   d\nMessage-ID:\n <1@x>\n"
        "Date: Sat,\n 14 Mar\n 2026 15:09:26\n +0000"
    ),
    "folded in vain": fields("Subject: a\n \n b\n  \nFrom: a@x"),
    "white space at the ends": fields("Subject: \t a  b \t \nMessage-ID:   <1@x>  "),
    "8-bit": fields("Subject: \xe4\xf6\xfc\nFrom: \xc4 <a@x>\nMessage-ID: <\xe4@x>"),
    "UTF-8": fields("Subject: \xc3\xa4\xc3\xb6\nFrom: \xc3\x84 <\xc3\xa4@x>"),
    "encoded words": fields(
        "Subject: =?utf-8?q?a=C3=A4?= =?utf-8?b?w7Y=?= b =?iso-8859-1?q?=E4_=F6?="
        " =?x?q?=E4?= =?utf-8?q?a b?= =?utf-8?b?!!?="
    ),
    "quotation marks in the subject": fields('Subject: a "b" \\c\\\\'),
    "tabs in the subject": fields("Subject: a\tb\t\tc"),
    "control characters": fields("Subject: a\x01b\x7fc\x1b[0m\nFrom: a@x"),
    "CR alone in the header": b"Subject: a\rb\r\nFrom: a@x\r\n\r\nbody\rmore\r\n",
    "LF alone": b"Subject: a\nFrom: a@x\n\nbody\nmore\n",
    "LF alone in a multipart": b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n",
    "LF and CRLF": b"Subject: a\nFrom: a@x\r\n\nbody\r\nmore\n",
    "CR CR LF": b"Subject: a\r\r\nFrom: a@x\r\r\n\r\r\nbody\r\r\n",
    "CR alone": b"Subject: a\rFrom: a@x\r\rbody\r",
    "names of odd characters": fields("Sub.ject: x\nX_1: y\n{x}: z\n1: 2\nSubject: real"),
    "name of 8 bits": fields("S\xfcbject: x\nSubject: real"),
    "long subject": fields(f"Subject: {'word ' * 3000}"),
    "1,000 recipients": fields("To: " + ",\n ".join(f"User {n} <user{n}@x.test>" for n in range(1000))),
    "1,000 fields": fields("\n".join(f"X-{n}: {n}" for n in range(1000)) + "\nSubject: x"),
    "several In-Reply-To": fields("In-Reply-To: Your message of Sat <1@x> \"x\"\nReferences: <0@x>\n <1@x>"),
    "Message-ID without brackets": fields("Message-ID: 1@x"),
    "Message-ID with a comment": fields("Message-ID: (c) <1@x> (d)"),
    "Resent fields": fields("Resent-From: a@x\nResent-Date: Sat, 14 Mar 2026 15:09:26 +0000\nFrom: b@x"),
}  # fmt: skip

_DATES = (
    "Sat, 14 Mar 2026 15:09:26 +0000",
    "14 Mar 2026 15:09:26 +0000",
    "Sat, 14 Mar 2026 15:09 +0000",
    "Sat, 14 Mar 26 15:09:26 +0000",
    "Sat, 14 Mar 99 15:09:26 +0000",
    "Sat, 14 Mar 126 15:09:26 +0000",
    "Sat, 14 Mar 2026 15:09:26 GMT",
    "Sat, 14 Mar 2026 15:09:26 EST",
    "Sat, 14 Mar 2026 23:09:26 PDT",
    "Sat, 14 Mar 2026 15:09:26 Z",
    "Sat, 14 Mar 2026 15:09:26 A",
    "Sat, 14 Mar 2026 15:09:26 CET",
    "Sat, 14 Mar 2026 23:59:26 -0100",
    "Sat, 14 Mar 2026 00:10:26 +0100",
    "Sat, 14 Mar 2026 15:09:26 +1400",
    "Sat, 14 Mar 2026 15:09:26",
    "Sat, 14 Mar 2026 15:09:60 +0000",
    "Sat, 14 Mar 2026 24:00:00 +0000",
    "Sat, 14 Mar 2026 25:61:61 +0000",
    "Sat, 31 Feb 2026 15:09:26 +0000",
    "Sat, 00 Mar 2026 15:09:26 +0000",
    "Mon, 14 Mar 2026 15:09:26 +0000",
    "Sat, 14 March 2026 15:09:26 +0000",
    "Sat,14 Mar 2026 15:09:26 +0000",
    "Sat , 14 Mar 2026 15 : 09 : 26 +0000",
    "Sat, (c) 14 (d) Mar 2026 15:09:26 +0000 (UTC)",
    "Sat, 14\n Mar 2026\n 15:09:26 +0000",
    "sat, 14 mar 2026 15:09:26 +0000",
    "Sat Mar 14 15:09:26 2026",
    "2026-03-14T15:09:26Z",
    "14/03/2026 15:09",
    "Sat, 14 Mar 2026",
    "Thu, 01 Jan 1970 00:00:00 +0000",
    "Thu, 01 Jan 1970 00:00:00 +0100",
    "Wed, 31 Dec 1969 23:59:59 +0000",
    "Mon, 01 Jan 1900 00:00:00 +0000",
    "Fri, 31 Dec 9999 23:59:59 +0000",
    "Tue, 19 Jan 2038 03:14:08 +0000",
    "Sun, 07 Feb 2106 06:28:16 +0000",
    "Sat, 14 Mar 2026 15:09:26 +00:00",
    "Sat, 14 Mar 2026 15:09:26 0000",
    "Sat, 14 Mar 2026 15.09.26 +0000",
    "Sat, 14-Mar-2026 15:09:26 +0000",
    "garbage",
    "",
)

DATES = {
    f"date {value!r}": fields(f"Date: {value}\nFrom: a@north.test\nSubject: date {number:02}")
    for number, value in enumerate(_DATES)
}

_ENCODED = (
    ("base64", "aGVsbG8gd29ybGQ="), ("base64", "aGVs\nbG8g\nd29y\nbGQ=\n"),
    ("base64", "aGVs*bG8g d29ybGQ=\nzz"),
    ("base64", "aGVsbG8=aGVsbG8=\n"), ("base64", ""), ("base64", "  aGVs bG8=  \n"),
    ("base64", "aGVsbG8=\n\nfooter\n"), ("base64", "AAECAA=="), ("base64", "\n\n\n"), ("BASE64", "eA=="),
    ("quoted-printable", "a=C3=A4=\nb=20\n"), ("quoted-printable", "a= \nb=\n\nc"),
    ("quoted-printable", "a=ZZ=4 =\t\n=\n"), ("quoted-printable", "=c3=a4"), ("quoted-printable", "a  \t\nb"),
    ("8bit", "\xe4\n"), ("7bit", "x\n"), ("binary", "x\ny"), ("x-uuencode", "x\n"),
)  # fmt: skip
ENCODED = {
    f"{encoding}, {text!r}": mixed(
        f"--b\nContent-Type: application/x\nContent-Transfer-Encoding: {encoding}\n\n{text}\n--b--\n"
    )
    for encoding, text in _ENCODED
}
"""For BINARY; not in the corpus. A part that ends within its encoding ends Dovecot's process."""

CORPUS: dict[str, bytes] = {**BOUNDARIES, **PARTS, **NESTED, **TYPES, **ADDRESSES, **HEADERS, **DATES}
