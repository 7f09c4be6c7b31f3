-- accounts: keys for SCRAM beside a password's hash (RFC 5803), parted by spaces; empty: none
ALTER TABLE credential ADD COLUMN scram TEXT NOT NULL DEFAULT '';

-- accounts: random octets that all hosts share
CREATE TABLE server_secret (
  name       TEXT PRIMARY KEY,
  value      BLOB NOT NULL
);
