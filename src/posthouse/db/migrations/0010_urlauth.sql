-- store: the keys with which users sign URLs of messages (RFC 4467)
CREATE TABLE url_key (
  account    BIGINT NOT NULL,          -- who signs
  owner      BIGINT NOT NULL,          -- whose the mailbox is
  mailbox    BIGINT NOT NULL,
  secret     BLOB NOT NULL,
  PRIMARY KEY (account, owner, mailbox)
) WITHOUT ROWID;
CREATE INDEX url_key_mailbox ON url_key (owner, mailbox);
