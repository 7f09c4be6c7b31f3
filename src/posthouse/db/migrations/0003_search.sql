-- The full-text index on PostgreSQL. SQLite has it in a file of its own (store/fulltext_sqlite.py), which
-- can be made anew at any time; so can these tables: emptied, they are filled again.

-- on postgresql
-- store
CREATE TABLE search_account (
  account    BIGINT PRIMARY KEY,
  modseq     BIGINT NOT NULL           -- of the account, when all of it was last looked at
);
CREATE TABLE search_mark (
  account    BIGINT NOT NULL,
  mailbox    BIGINT NOT NULL,
  uid        BIGINT NOT NULL,          -- messages below are in the index
  PRIMARY KEY (account, mailbox)
);
CREATE TABLE search_document (
  account    BIGINT NOT NULL,
  email      BIGINT NOT NULL,
  partial    BIGINT NOT NULL,          -- 1: only the beginning of its text is here
  head       TEXT NOT NULL,            -- decoded and folded
  body       TEXT NOT NULL,
  grams      INTEGER[] NOT NULL,       -- hashes of account and one to three characters, store.fulltext_postgres
  PRIMARY KEY (account, email)
);
-- What is pending makes putting in fast, and looking up slow. kB:
CREATE INDEX search_document_grams ON search_document USING GIN (grams) WITH (gin_pending_list_limit = 256);
-- end
