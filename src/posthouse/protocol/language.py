"""The language of what a session of IMAP or POP3 says to people (RFC 5255 §3, RFC 6856 §3).

English, or simplified Chinese. Response codes and names of mailboxes stay as they are. What has no
translation is said in English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

DEFAULT = "i-default"
LANGUAGES = {"en": "English", DEFAULT: "English", "zh-Hans": "简体中文"}
"""As LANGUAGE and LANG list them, each with what it calls itself."""

_TRADITIONAL = ("zh-hant", "zh-tw", "zh-hk", "zh-mo")
_PATTERNS = (
    (re.compile(r"([A-Z]+) completed"), r"\1 已完成"),
    (re.compile(r"([A-Z]+): log in first"), r"\1：请先登录"),
    (re.compile(r"([A-Z]+): select a mailbox first"), r"\1：请先选择邮箱文件夹"),
    (re.compile(r"([A-Z]+): you have logged in already"), r"\1：您已经登录"),
    (re.compile(r"There is no mailbox (.+)"), r"没有邮箱文件夹 \1"),
    (re.compile(r"Mailbox (.+) exists already"), r"邮箱文件夹 \1 已存在"),
    (re.compile(r"You have no permission to do that with (.+)"), r"您无权对 \1 执行此操作"),
    (re.compile(r"Maildrop has (\d+) messages? \((\d+) octets\)"), r"邮箱中有 \1 封邮件（\2 字节）"),
    (re.compile(r"Message (\d+) marked as deleted"), r"第 \1 封邮件已标记为删除"),
    (re.compile(r"Bye, (\d+) removed"), r"再见，已删除 \1 封邮件"),
    (re.compile(r"([A-Z0-9]+): wrong number of arguments"), r"\1：参数个数不对"),
    (re.compile(r"([A-Z0-9]+) is not allowed in the ([A-Z]+) state"), r"\2 状态下不能使用 \1"),
    (re.compile(r"([A-Z]+) failed"), r"\1 失败"),
    (re.compile(r"(\S+) POP3 server ready"), r"\1 POP3 服务器已就绪"),
    (re.compile(r"Authentication failed: (.+)"), r"认证失败：\1"),
    (re.compile(r"Unknown command (.+)"), r"未知的命令 \1"),
    (re.compile(r"Mailbox name is longer than (\d+) octets"), r"邮箱文件夹名称超过 \1 字节"),
    (re.compile(r"One command takes (\d+) messages at most"), r"一条命令最多处理 \1 封邮件"),
    (re.compile(r"A value has (\d+) octets at most"), r"一个值最多 \1 字节"),
    (re.compile(r"You have no permission to make (.+)"), r"您无权创建 \1"),
    (
        re.compile(r"Names that begin with (.+) and (.+) are other users' mailboxes"),
        r"以 \1 和 \2 开头的名称是其他用户的邮箱文件夹",
    ),
    (re.compile(r"(\S+) is not set here"), r"\1 不能在此设置"),
    (re.compile(r"The filter (\S+) does not exist"), r"没有搜索条件 \1"),
    (re.compile(r"The filter (\S+) names too many others"), r"搜索条件 \1 引用了过多其他条件"),
    (re.compile(r"The filter (\S+) is no search: (.+)"), r"搜索条件 \1 无法识别：\2"),
    (re.compile(r"Cannot take what the URL names: (.+)"), r"无法取得 URL 所指的内容：\1"),
    (re.compile(r"The only mechanism is (.+)"), r"唯一支持的机制是 \1"),
)
"""Texts with something in them, and how they are said in Chinese."""
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
    "INBOX cannot be renamed": "收件箱不能重命名",
    "You may change none of these flags here": "您无权在此更改这些标记",
    "You may not remove messages from this mailbox": "您无权从此邮箱文件夹删除邮件",
    "There is no message to replace": "没有可替换的邮件",
    "The storage of the account is full": "帐户存储空间已满",
    "Acting as somebody else is not allowed": "不允许以他人身份登录",
    "Unknown authentication mechanism": "未知的认证方式",
    "None of these languages is spoken here": "不支持这些语言",
    "Logging out": "正在退出",
    "Too many errors, closing": "错误过多，连接即将关闭",
    "Send the password": "请发送密码",
    "Bye": "再见",
    "Nothing done": "无操作",
    "No such message": "没有这封邮件",
    "Unknown command": "未知的命令",
    "Another session has the maildrop open": "另一个会话正在使用此邮箱",
    "There is no such mailbox": "没有这个邮箱文件夹",
    "Some deleted messages were not removed": "部分已删除的邮件未能移除",
    "You have no permission to delete messages of this mailbox": "您无权删除此邮箱文件夹中的邮件",
    "The message has been removed by another session": "邮件已被另一个会话删除",
    "Passwords are not taken here": "此处不接受密码",
    "Begin TLS negotiation now": "现在开始 TLS 协商",
    "TLS is active already": "TLS 已启用",
    "TLS is not available": "TLS 不可用",
    "USER comes first": "请先发送 USER",
    "UTF-8 it is": "已启用 UTF-8",
    "Capability list follows": "功能列表如下",
    "Scan listing follows": "邮件列表如下",
    "Unique-ids follow": "唯一标识列表如下",
    "Mechanisms follow": "认证方式如下",
    "Languages follow": "语言列表如下",
    "This is English": "现在使用简体中文",
    "A line must end with <CR><LF>": "每行必须以 <CR><LF> 结尾",
    "Line too long": "行过长",
    "NUL is not allowed": "不允许使用 NUL",
    "Arguments must be UTF-8": "参数必须为 UTF-8",
    "STLS comes before UTF8": "STLS 必须在 UTF8 之前",
    "TOP: the number of lines must be a number": "TOP：行数必须是数字",
    "Missing argument": "缺少参数",
    "Say ENABLE UTF8=ACCEPT first: the header has 8-bit characters": "邮件头含有 8 位字符",
    "Expected DONE": "应为 DONE",
    "A search by FILTER is in UTF-8": "使用 FILTER 的搜索必须为 UTF-8",
    "Messages are named by UID alone": "只能用 UID 指定邮件",
    "NUL is not allowed in a literal": "内容中不允许使用 NUL",
    "The tag is that of a search that is kept up to date": "该标签属于一个正在持续更新的搜索",
    "A mailbox cannot become its own child": "邮箱文件夹不能成为自己的子文件夹",
    "Mailbox name begins with a byte order mark": "邮箱文件夹名称以字节顺序标记开头",
    "Mailbox name has a control character": "邮箱文件夹名称含有控制字符",
    "Mailbox name has an empty level": "邮箱文件夹名称有空的层级",
    "Mailbox name is not valid Unicode": "邮箱文件夹名称不是有效的 Unicode",
    "Mailbox name is too long or too deep": "邮箱文件夹名称过长或层级过深",
    "A mailbox stays with its owner": "邮箱文件夹不能转给他人",
    "A mailbox stays with its owner, and so does every INBOX": "邮箱文件夹和收件箱都不能转给他人",
    "A part has an unknown transfer encoding": "邮件的一部分使用了未知的传输编码",
    "Compression is active already": "压缩已启用",
    "DEFLATE active": "DEFLATE 已启用",
    "The header section is too long": "邮件头过长",
    "The literal is too large": "内容过大",
    "The owner has all rights, always": "所有者始终拥有全部权限",
    "That cannot be an identifier": "这不是有效的用户标识",
    "The mailbox has too many entries": "邮箱文件夹的权限条目过多",
    "There is no room for more entries": "没有空间存放更多条目",
    "There is no such comparator": "没有这种比较规则",
    "There is no such event here": "此处没有这种事件",
    "There is no such quota root": "没有这个配额根",
    "Only administrators set what all users of the server share": "只有管理员才能设置所有用户共享的内容",
    "Only the newest of the messages were dealt with": "只处理了其中最新的邮件",
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
    known = _CHINESE.get(text)
    if known is not None:
        return known
    for pattern, said in _PATTERNS:
        if found := pattern.fullmatch(text):
            return found.expand(said)
    return text


def translated_name(name: str, language: str) -> str:
    """The name of a namespace, without separator; empty where it has no other (RFC 5255 §3.4)."""
    return _NAMES.get(name, "") if language == "zh-Hans" else ""
