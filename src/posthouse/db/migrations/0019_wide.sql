-- STORE of a whole mailbox is one row, and those of its messages follow behind.

-- store: what has become of the system flags of a run of messages, before their rows in placement show it
CREATE TABLE flag_change (
  account    BIGINT NOT NULL,
  mailbox    BIGINT NOT NULL,
  modseq     BIGINT NOT NULL,          -- of the first change in it; rows with this one or a later show it
  first      BIGINT NOT NULL,          -- UIDs from here …
  last       BIGINT NOT NULL,          -- … up to here
  latest     BIGINT NOT NULL,          -- modseq of the last change in it
  open       BIGINT NOT NULL,          -- 1: no row shows it, so a change of the same messages may join it
  keep       BIGINT NOT NULL,          -- flags that stay as they are …
  bits       BIGINT NOT NULL,          -- … and those that are set then
  modseqs    BLOB NOT NULL,            -- for all flags before it, the modseq that a message has; 0: it has not changed
  PRIMARY KEY (account, mailbox, modseq)
);
