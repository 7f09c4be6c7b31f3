-- store: contents that no message refers to yet, because the command they came with goes on
CREATE TABLE upload (
  id         BIGINT PRIMARY KEY,       -- of the first of them
  contents   BLOB NOT NULL             -- their ids, eight octets each
);
