"""What mail is, pure: addresses, envelopes, content, headers, dates, replies. No I/O, no clock, no chance."""
