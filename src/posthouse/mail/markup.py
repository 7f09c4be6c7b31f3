"""HTML as text: what a reader would see of it, piece by piece, in time that grows with its length only.

This is no parser of HTML and builds no tree, so that nothing hostile in it can grow or nest: tags go,
those within a line without a trace and all others for a line end; scripts, style sheets and comments go
with what is in them; character references become characters; the text in place of an image stays.
A library would want the whole document in memory and read it in code that is not memory-safe.
"""

from __future__ import annotations

import html
import re

_HELD = 256 * 1024
"""Characters of an unfinished tag (of an image within it) that wait for its end; a longer one is text."""

_QUOTED = r"(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+>"
_REST = f"(?:{_QUOTED}|[^<>]*+>)"
# No attempt goes beyond the next "<", so all of them together read the text once or twice.
_TAG = re.compile(
    r"<(?:(?P<image>img\b(?>[^<>]*?\salt\s*+=\s*+(?:\"(?P<one>[^\"<]*+)\"|'(?P<other>[^'<]*+)'))[^<>]*+>)"
    r"|(?P<inline>/?(?:a|abbr|acronym|b|bdi|bdo|big|cite|code|del|dfn|em|font|i|ins|kbd|mark|o:p|q|s|samp"
    r"|small|span|strike|strong|sub|sup|tt|u|var|wbr)(?=[\s/>])" + _REST + r")"
    r"|[a-z/!?]" + _REST + r")",
    re.IGNORECASE,
)
_SURELY_TAG = re.compile("<" + _QUOTED)
_UNSEEN = re.compile(r"<!--|<(script|style|template)(?=[\s/>])", re.IGNORECASE)
_ENDS = {
    "": re.compile(r"--!?>"),
    "script": re.compile(r"</script[^<>]*+>", re.IGNORECASE),
    "style": re.compile(r"</style[^<>]*+>", re.IGNORECASE),
    "template": re.compile(r"</template[^<>]*+>", re.IGNORECASE),
}
_LONGEST_END = 64
_LONGEST_REFERENCE = 40


class Markup:
    """The text of one HTML document."""

    __slots__ = ("_held", "_until")

    def __init__(self) -> None:
        self._held = ""
        self._until: re.Pattern[str] | None = None

    def feed(self, text: str, last: bool) -> str:
        """What the next piece says, as far as it is certain."""
        data = self._held + text
        seen: list[str] = []
        position = 0
        while True:
            if self._until is not None:
                end = self._until.search(data, position)
                if end is None:
                    position = max(position, len(data) - _LONGEST_END)
                    break
                self._until = None
                position = end.end()
            unseen = _UNSEEN.search(data, position)
            if unseen is None:
                break
            seen.append(data[position : unseen.start()])
            self._until = _ENDS[(unseen[1] or "").lower()]
            position = unseen.end()
        if self._until is None:
            cut = len(data) if last else _certain(data, position)
            seen.append(data[position:cut])
            position = cut
        self._held = "" if last else data[position:]
        return "".join(map(_without_tags, seen))


def _certain(data: str, position: int) -> int:
    """Where to cut so that no tag, and no character reference, lies on both sides."""
    opening = data.rfind("<", max(position, len(data) - _HELD))
    if opening >= 0:
        tag = _SURELY_TAG.match(data, opening)
        if tag is None:
            return opening
        position = tag.end()
    reference = data.rfind("&", max(position, len(data) - _LONGEST_REFERENCE))
    if reference >= 0 and data.find(";", reference) < 0:
        return reference
    return len(data)


def _without_tags(text: str) -> str:
    # In one pass, so that no tag comes about where another was.
    if "<" in text:
        text = _TAG.sub(_instead, text)
    return html.unescape(text) if "&" in text else text


def _instead(tag: re.Match[str]) -> str:
    """What a reader sees in place of a tag."""
    if tag["inline"]:
        return ""
    return f" {tag['one'] or tag['other'] or ''} " if tag["image"] else "\n"


def to_text(document: str) -> str:
    """What a whole document says."""
    return Markup().feed(document, True)
