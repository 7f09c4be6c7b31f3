-- The words of each account's messages, for searches with typing errors, on PostgreSQL; SQLite has them in the file
-- of its full-text index (store/fulltext_sqlite.py). The index is made anew, so that they are found in all mail.

-- on postgresql
-- store
CREATE TABLE search_word (
  account    BIGINT NOT NULL,
  word       TEXT NOT NULL,
  PRIMARY KEY (account, word)
);
ALTER TABLE search_account ADD COLUMN words BIGINT NOT NULL DEFAULT 0;
DELETE FROM search_facts;
DELETE FROM search_document;
DELETE FROM search_mark;
UPDATE search_account SET modseq = 0;
-- end
