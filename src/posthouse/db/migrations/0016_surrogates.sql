-- What POP3 sends in place of internationalized messages, to clients that have not said UTF8 (RFC 6856).

-- store: the messages of a mailbox below this UID have been looked at; emptied, they are looked at again
CREATE TABLE surrogate_mark (
  account    BIGINT NOT NULL,
  mailbox    BIGINT NOT NULL,
  uid        BIGINT NOT NULL,
  PRIMARY KEY (account, mailbox)
) WITHOUT ROWID;

-- store: those of them that have UTF-8 in a header
CREATE TABLE surrogate (
  account    BIGINT NOT NULL,
  mailbox    BIGINT NOT NULL,
  uid        BIGINT NOT NULL,
  size       BIGINT NOT NULL,          -- octets of what is sent
  PRIMARY KEY (account, mailbox, uid)
) WITHOUT ROWID;
