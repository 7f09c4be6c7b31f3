"""The runner: takes queue entries whose time has come, hands them on, and records what became of them.

`job` is what it hands on, `destinations` how many attempts go where at once, `recording` the one transaction
with outcome, notification and journey, `runner` the rest.
"""
