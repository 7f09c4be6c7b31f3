"""The store: mailboxes and the messages in them, of every account.

A stored message is a prefix (trace fields of this copy) and content (octets as received, stored once
for all copies). A placement puts it into a mailbox under a UID, with flags and keywords. Nothing here
knows a protocol; IMAP, POP3 and what comes later read snapshots and change them through `changes`.
"""
