-- Previews of messages, made when one is first asked for; and when the key of a URL was renewed.

-- store: how the text of an email begins (RFC 8970); emptied, it is filled again
CREATE TABLE preview (
  account    BIGINT NOT NULL,
  email      BIGINT NOT NULL,
  text       TEXT NOT NULL,
  PRIMARY KEY (account, email)
) WITHOUT ROWID;

-- the owner's account, when RESETKEY made the key; 0: it is the first
ALTER TABLE url_key ADD COLUMN modseq BIGINT NOT NULL DEFAULT 0;
