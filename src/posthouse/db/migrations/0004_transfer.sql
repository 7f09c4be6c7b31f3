-- db: a move of everything to another database (db.transfer): what stands here about it, on either side
CREATE TABLE transfer (
  name       TEXT PRIMARY KEY,
  value      TEXT NOT NULL
);
