-- Threads, the day of saving, annotations, and mailboxes that several users share.

-- store
ALTER TABLE placement ADD COLUMN saved BIGINT;             -- when it came into the mailbox; NULL: not kept then
ALTER TABLE email ADD COLUMN thread BIGINT NOT NULL DEFAULT 0;  -- 0: not worked out yet
CREATE INDEX email_thread ON email (account, thread);

-- store: what tells that messages of an account belong together
CREATE TABLE thread_key (
  account    BIGINT NOT NULL,
  hash       BIGINT NOT NULL,          -- mail.threads.keys
  thread     BIGINT NOT NULL,
  PRIMARY KEY (account, hash)
) WITHOUT ROWID;

-- store: annotations (RFC 5464)
CREATE TABLE metadata (
  account    BIGINT NOT NULL,          -- whose mailbox; 0: of the server
  mailbox    BIGINT NOT NULL,          -- 0: of no mailbox
  reader     BIGINT NOT NULL,          -- the account whose /private entry it is; 0: /shared
  entry      TEXT NOT NULL,            -- lower case
  value      BLOB NOT NULL,
  PRIMARY KEY (account, mailbox, reader, entry)
) WITHOUT ROWID;

-- store: who may do what in a mailbox, beside its owner (RFC 4314)
CREATE TABLE acl (
  account    BIGINT NOT NULL,
  mailbox    BIGINT NOT NULL,
  grantee    BIGINT NOT NULL,          -- an account; 0: anyone
  negative   BIGINT NOT NULL,          -- 1: these rights are taken away
  rights     TEXT NOT NULL,
  PRIMARY KEY (account, mailbox, grantee, negative)
) WITHOUT ROWID;
CREATE INDEX acl_grantee ON acl (grantee, account);

-- accounts
ALTER TABLE account ADD COLUMN shared BIGINT NOT NULL DEFAULT 0;  -- 1: its mailboxes are everybody's to be shared

-- accounts: each copy counts, as IMAP shows it
UPDATE account SET used =
  (SELECT COALESCE(sum(placement.size), 0) FROM placement WHERE placement.account = account.id);
