"""Outbound: one letter to one next hop, now. Whether to try again is the queue's business.

    hop → mx (where) → pool (a session at hand?) → connection (TCP, TLS, the client's session) → send

`Outbound.send` is the door. It gives each recipient an outcome and tells how it came about.
"""
