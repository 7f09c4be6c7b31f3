-- Large mailboxes are opened from pages, each of which says what some thousand rows of placement do.

-- store: what a page holds, and as of when
CREATE TABLE snapshot_page (
  account    BIGINT NOT NULL,
  mailbox    BIGINT NOT NULL,
  first      BIGINT NOT NULL,          -- messages with UIDs from here …
  below      BIGINT NOT NULL,          -- … up to the one before
  messages   BIGINT NOT NULL,
  modseq     BIGINT NOT NULL,          -- of the mailbox, when it held them as they were
  PRIMARY KEY (account, mailbox, first)
) WITHOUT ROWID;

-- store: apart from that, so that it is not written again where only the modseq is another
CREATE TABLE snapshot_data (
  account    BIGINT NOT NULL,
  mailbox    BIGINT NOT NULL,
  first      BIGINT NOT NULL,
  keywords   TEXT NOT NULL,            -- the different ones, a line each
  data       BLOB NOT NULL,            -- store.columns.pack
  PRIMARY KEY (account, mailbox, first)
);
