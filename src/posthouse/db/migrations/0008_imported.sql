-- store: which messages an import has brought, so that another one adds only what is missing
CREATE TABLE imported (
  account    BIGINT NOT NULL,
  mailbox    BIGINT NOT NULL,
  item       BIGINT NOT NULL,          -- store.imports.item_of: what it was where it came from
  uid        BIGINT NOT NULL,
  PRIMARY KEY (account, mailbox, item)
) WITHOUT ROWID;
