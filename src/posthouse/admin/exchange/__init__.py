"""Mail comes in from other systems and goes out to them: Maildir, mbox, and IMAP (in only).

`folders.py` says what all of them have in common, `bring.py` puts it into the store, `take.py` out of it.
"""
