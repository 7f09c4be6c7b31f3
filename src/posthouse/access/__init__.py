"""Access: IMAP and POP3 driven over the store.

The cores in `protocol` know the languages, the store knows the mail; what stands here turns the
commands of one into reads and changes of the other.
"""
