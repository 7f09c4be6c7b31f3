"""Domains, accounts, addresses, aliases, credentials: who we are and whom we know.

The room owns the tables domain, account, credential, alias and alias_target. Functions that change
them take a transaction and are run by `Database.write`; each begins by counting up the generation
`directory`, which is how every worker learns that what its `Directory` remembers is stale, and what keeps
changes of several hosts apart.
"""
