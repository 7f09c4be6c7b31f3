"""Charsets: the octets of a text as characters, whatever name mail gives to its charset. Never fails.

Names are taken as mail uses them: `gb2312` is most often GB 18030, `iso-8859-1` Windows-1252, `ks_c_5601`
CP949 (as the Encoding Standard of the WHATWG has it). An unknown name, one that is no charset of text, and
none at all are read as UTF-8 or, where that is impossible, Windows-1252. What cannot be read becomes
U+FFFD. No text holds half a surrogate pair.
"""

from __future__ import annotations

import codecs
import re
from encodings.aliases import aliases
from functools import lru_cache

_BUFFER = 64 * 1024
"""Octets that a decoder may hold back: a run of UTF-7 is decoded anew with each piece until it ends."""

# Not a charset of text, or quadratic in time.
_REFUSED = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem", "rot_13"}
_REFUSED |= {codec for codec in aliases.values() if codec.endswith("_codec")}
_CODECS = (set(aliases.values()) | {"cp874", "koi8_t", "koi8_u", "utf_8_sig"}) - _REFUSED

_OTHER_NAMES = {
    "cn_big5": "big5", "gb_2312_80": "gb2312", "hz_gb_2312": "hz", "iso_8859_8_e": "iso8859_8",
    "iso_8859_8_i": "iso8859_8", "unicode_1_1_utf_8": "utf_8", "windows_31j": "cp932", "windows_874": "cp874",
    "windows_949": "cp949", "x_euc_jp": "euc_jp", "x_gbk": "gbk", "x_mac_cyrillic": "mac_cyrillic",
    "x_sjis": "shift_jis", "x_x_big5": "big5",
}  # fmt: skip
_AS_MAIL_USES_THEM = {
    "ascii": "", "big5": "big5hkscs", "euc_kr": "cp949", "gb2312": "gb18030", "gbk": "gb18030",
    "iso2022_jp": "iso2022_jp_ext", "iso8859_11": "cp874", "iso8859_9": "cp1254", "latin_1": "cp1252",
    "shift_jis": "cp932", "tis_620": "cp874",
}  # fmt: skip

_WITHOUT_MARK = {"utf-16": "utf-16-be", "utf-32": "utf-32-be"}
"""Without a byte order mark: big-endian, as is usual on a network."""


@lru_cache(maxsize=256)
def codec(charset: str) -> str:
    """The name that Python has for a charset; empty where it is to be found out from the octets."""
    name = re.sub(r"[^a-z0-9]+", "_", charset[:40].lower()).strip("_")
    name = _OTHER_NAMES.get(name, name)
    name = aliases.get(name, name)
    name = _AS_MAIL_USES_THEM.get(name, name)
    return codecs.lookup(name).name if name in _CODECS else ""


def eight_bit(octets: bytes) -> str:
    """Octets of unknown charset as text: UTF-8 if they are, Windows-1252 if not."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")


def decode(octets: bytes, charset: str) -> str:
    """All octets of a text."""
    name = codec(charset)
    if not name:
        return eight_bit(octets)
    if name in _WITHOUT_MARK:
        return Decoder(charset).decode(octets, True)
    return _whole_pairs(octets.decode(name, "replace"), name)


def _whole_pairs(text: str, name: str) -> str:
    """UTF-7 can spell halves of surrogate pairs, which are no characters."""
    if name != "utf-7" or text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Decoder:
    """A text piece by piece. A character may lie on both sides of a cut."""

    __slots__ = ("_decoder", "_name")

    def __init__(self, charset: str) -> None:
        self._name = codec(charset)
        name, errors = (self._name, "replace") if self._name else ("utf-8", "strict")
        self._decoder = codecs.getincrementaldecoder(name)(errors)

    def decode(self, octets: bytes, last: bool) -> str:
        """The text of the next octets, as far as it is certain."""
        held = self._decoder.getstate()[0]
        try:
            text = self._decoder.decode(octets, last)
        except UnicodeError:
            # Not UTF-8, or without the mark that tells the order of octets: from here on the other.
            other = _WITHOUT_MARK.get(self._name, "cp1252")
            self._decoder = codecs.getincrementaldecoder(other)("replace")
            text = self._decoder.decode(held + octets, last)
        if not last and len(self._decoder.getstate()[0]) > _BUFFER:
            text += self._decoder.decode(b"", True)
            self._decoder.reset()
        return _whole_pairs(text, self._name)
