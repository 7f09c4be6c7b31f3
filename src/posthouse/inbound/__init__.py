"""Receiving letters: the SMTP core driven for strangers, for users and for LMTP clients."""
