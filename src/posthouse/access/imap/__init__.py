"""IMAP over the store: one driver for the protocol core, its commands by theme."""
