"""The language of what a session says to people (RFC 5255 §3): English, or simplified Chinese.

Response codes and names of mailboxes stay as they are. What has no translation is said in English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

DEFAULT = "i-default"
LANGUAGES = ("en", DEFAULT, "zh-Hans")
"""As LANGUAGE lists them."""

_TRADITIONAL = ("zh-hant", "zh-tw", "zh-hk", "zh-mo")
_COMPLETED = re.compile(r"([A-Z]+) completed")
_CHINESE = {
    "Log in first": "请先登录",
    "Login name or password is wrong": "登录名或密码错误",
    "Start TLS first: passwords are not taken in clear": "请先启用 TLS：不接受明文密码",
    "Temporary problem, try again later": "暂时出现问题，请稍后再试",
    "Internal error, try again later": "内部错误，请稍后再试",
    "Too much to do right now, try again later": "服务器繁忙，请稍后再试",
    "Server is shutting down": "服务器正在关闭",
    "Idle for too long": "闲置时间过长",
    "Too many errors": "错误过多",
    "The storage is full": "存储空间已满",
    "The quota would be exceeded": "将超出邮箱配额",
    "The message is too large": "邮件过大",
    "There is nothing in the message": "邮件没有内容",
    "Too much for one command": "一条命令中内容过多",
    "There is no space to store the message now": "目前没有空间存储邮件",
    "The mailbox has been deleted": "邮箱文件夹已被删除",
    "The mailbox is open read-only": "邮箱文件夹以只读方式打开",
    "Some of the messages have been expunged": "部分邮件已被清除",
    "There is no message with such a number": "没有这个编号的邮件",
    "The account has been removed": "帐户已被删除",
    "You may no longer read this mailbox": "您不再有权读取此邮箱文件夹",
    "Unknown charset": "未知的字符集",
    "INBOX cannot be deleted": "收件箱不能删除",
    "Welcome": "欢迎",
}
_NAMES = {"Other Users": "其他用户", "Shared": "共享"}


def chosen(ranges: Sequence[str]) -> str | None:
    """The first language that a client can read, by its ranges in their order (RFC 4647); None: none."""
    for wanted in map(str.lower, ranges):
        if wanted in ("*", "default", DEFAULT):
            return DEFAULT
        if wanted == "en" or wanted.startswith("en-"):
            return "en"
        if (wanted == "zh" or wanted.startswith("zh-")) and not wanted.startswith(_TRADITIONAL):
            return "zh-Hans"
    return None


def translated(text: str, language: str) -> str:
    """A text for people in a language."""
    if language != "zh-Hans":
        return text
    completed = _COMPLETED.fullmatch(text)
    return f"{completed[1]} 已完成" if completed else _CHINESE.get(text, text)


def translated_name(name: str, language: str) -> str:
    """The name of a namespace, without separator; empty where it has no other (RFC 5255 §3.4)."""
    return _NAMES.get(name, "") if language == "zh-Hans" else ""
