"""IMAP, the server's side, without I/O (RFC 3501 and extensions): grammar, command table, session core."""
