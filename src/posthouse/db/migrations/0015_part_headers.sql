-- The full-text index on PostgreSQL is made anew: it holds the headers of parts as well, and text beside fields.
-- On SQLite another version of its file does that (store/fulltext_sqlite.py).

-- on postgresql
-- store
DELETE FROM search_facts;
DELETE FROM search_document;
DELETE FROM search_mark;
UPDATE search_account SET modseq = 0;
-- end
