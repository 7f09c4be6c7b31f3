"""Posthouse beside Dovecot: the same mail and the same commands, and every answer compared."""
