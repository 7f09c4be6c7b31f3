"""Acceptance: the only way a letter gets in. `plan` touches nothing; `accept` is one durable transaction."""
