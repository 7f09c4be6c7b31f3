"""The runner: takes queue entries whose time has come, hands them on, and records what became of them.

An `errand` is one letter for one next hop. `destinations` says how many go where at once, `attempt` what the
journey keeps of one, `recording` is the one transaction with outcome, notification and journey, and
`runner` the rest.
"""
