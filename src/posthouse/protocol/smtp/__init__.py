"""SMTP (RFC 5321) and LMTP (RFC 2033) without input or output: verbs, grammar, both sides' sessions."""
