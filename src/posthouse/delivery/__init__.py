"""Delivery: what one local recipient's letter becomes. It decides, and writes nothing.

Routing has followed aliases and forwards before; acceptance carries out what is decided here, in its
transaction. What a user decides about the own mail joins here, between the loop check and the mailbox.
"""
