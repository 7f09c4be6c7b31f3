-- Facts of messages for SEARCH, SORT and THREAD on PostgreSQL; SQLite has them beside its full-text index.
-- They can be made anew at any time: emptied, the table is filled again.

-- on postgresql
-- store
CREATE TABLE search_facts (
  account    BIGINT NOT NULL,
  mailbox    BIGINT NOT NULL,
  family     TEXT NOT NULL,            -- store.facts.FAMILIES, or 'emails'
  first      BIGINT NOT NULL,          -- messages with UIDs from here …
  below      BIGINT NOT NULL,          -- … up to the one before
  messages   BIGINT NOT NULL,
  data       BLOB NOT NULL,            -- store.columns.pack, compressed
  PRIMARY KEY (account, mailbox, family, first)
);
UPDATE search_account SET modseq = 0;  -- so that every account is looked at once
-- end
