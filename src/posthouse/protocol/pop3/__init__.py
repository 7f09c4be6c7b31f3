"""POP3, the server's side, without I/O (RFC 1939, RFC 2449)."""
