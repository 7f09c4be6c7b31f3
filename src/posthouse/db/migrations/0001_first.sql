-- The first schema. One text for both databases; the driver maps BLOB and DOUBLE to its own types.
-- Ids are 64-bit, time-ordered, made by the worker. Times are seconds since 1970 UTC, DOUBLE.
-- A table belongs to one room, named above it; no other room writes SQL for it.

-- db: leases of work that only one holder may do at a time (reports, retention, checkpoints, collection)
CREATE TABLE lease (
  name       TEXT PRIMARY KEY,
  holder     BIGINT NOT NULL,
  expires    DOUBLE NOT NULL           -- the database's clock
);

-- db: things that caches remember; whoever changes what a cache holds adds one in the same transaction
CREATE TABLE generation (
  name       TEXT PRIMARY KEY,
  number     BIGINT NOT NULL
);
INSERT INTO generation (name, number) VALUES ('directory', 1);

-- db: blobs whose row is gone and whose object has still to be deleted
CREATE TABLE blob_garbage (
  name       TEXT PRIMARY KEY,
  since      DOUBLE NOT NULL
);

-- accounts
CREATE TABLE domain (
  name       TEXT PRIMARY KEY,         -- A-labels, lower case
  catch_all  TEXT NOT NULL DEFAULT '', -- an address, or empty
  separator  TEXT NOT NULL DEFAULT '+',-- of subaddresses (RFC 5233); empty: none
  created    DOUBLE NOT NULL
);
CREATE TABLE account (
  id         BIGINT PRIMARY KEY,
  address    TEXT NOT NULL UNIQUE,     -- canonical form, see mail.address.canonical
  name       TEXT NOT NULL DEFAULT '', -- display name
  state      TEXT NOT NULL DEFAULT 'active',  -- active | disabled
  admin      BIGINT NOT NULL DEFAULT 0,
  quota      BIGINT,                   -- octets; 0: none; NULL: accounts.mailbox_size_limit
  used       BIGINT NOT NULL DEFAULT 0,-- octets
  modseq     BIGINT NOT NULL DEFAULT 1,
  uidvalidity BIGINT NOT NULL DEFAULT 0, -- the last one given to a mailbox of this account
  created    DOUBLE NOT NULL
);
CREATE TABLE credential (
  account    BIGINT NOT NULL,
  id         BIGINT NOT NULL,
  label      TEXT NOT NULL,            -- 'password', or the name of an application password
  secret     TEXT NOT NULL,            -- argon2id, PHC string
  version    BIGINT NOT NULL,          -- grows with each change
  created    DOUBLE NOT NULL,
  PRIMARY KEY (account, id)
);
CREATE TABLE alias (
  address    TEXT PRIMARY KEY,         -- canonical
  kind       TEXT NOT NULL,            -- alias | forward (251) | list (EXPN) | moved (551)
  created    DOUBLE NOT NULL
);
CREATE TABLE alias_target (
  address    TEXT NOT NULL,
  target     TEXT NOT NULL,            -- an address, as given
  PRIMARY KEY (address, target)
);

-- store
CREATE TABLE content (
  id         BIGINT PRIMARY KEY,       -- the letter's id, or a new one for APPEND
  size       BIGINT NOT NULL,          -- octets, head and body
  hash       BLOB NOT NULL,            -- BLAKE2b-256 of head and body; empty where the body is inline
  blob       TEXT,                     -- the blob that holds head and body; NULL: body is in content_body
  head       BLOB NOT NULL
);
CREATE UNIQUE INDEX content_blob ON content (blob) WHERE blob IS NOT NULL;
CREATE TABLE content_body (
  content    BIGINT PRIMARY KEY,
  body       BLOB NOT NULL
);
CREATE TABLE mailbox (
  account    BIGINT NOT NULL,
  id         BIGINT NOT NULL,          -- the UIDVALIDITY it was made with; never used again in the account
  name       TEXT NOT NULL,            -- '/' parts the levels; INBOX in capitals; '/ID': being deleted
  uidvalidity BIGINT NOT NULL,
  uidnext    BIGINT NOT NULL DEFAULT 1,
  recent     BIGINT NOT NULL DEFAULT 1,-- \Recent: UIDs from here on, until a session claims them
  modseq     BIGINT NOT NULL DEFAULT 1,-- HIGHESTMODSEQ
  changed    BIGINT NOT NULL DEFAULT 0,-- modseq of the last change of flags; who knows it need not look for more
  forgotten  BIGINT NOT NULL DEFAULT 0,-- rows of expunged up to this modseq may have been dropped
  special    TEXT NOT NULL DEFAULT '', -- '\Sent' …
  PRIMARY KEY (account, id),
  UNIQUE (account, name)
) WITHOUT ROWID;
CREATE TABLE subscription (
  account    BIGINT NOT NULL,
  name       TEXT NOT NULL,
  PRIMARY KEY (account, name)
) WITHOUT ROWID;
CREATE TABLE email (
  account    BIGINT NOT NULL,
  id         BIGINT NOT NULL,
  content    BIGINT NOT NULL,
  arrived    DOUBLE NOT NULL,          -- internal date
  size       BIGINT NOT NULL,          -- RFC822.SIZE: prefix and content
  envelope   BLOB NOT NULL,            -- as FETCH returns it
  bodystructure BLOB NOT NULL,         -- as FETCH returns it
  prefix     BLOB NOT NULL,            -- trace fields of this copy, before the head
  PRIMARY KEY (account, id)
);
CREATE INDEX email_content ON email (content);
CREATE TABLE placement (
  account    BIGINT NOT NULL,
  mailbox    BIGINT NOT NULL,
  uid        BIGINT NOT NULL,
  email      BIGINT NOT NULL,
  size       BIGINT NOT NULL,          -- of the email: STATUS SIZE, RFC822.SIZE and STAT read nothing else
  flags      BIGINT NOT NULL DEFAULT 0,-- store.flags.Flag
  keywords   TEXT NOT NULL DEFAULT '', -- parted by spaces, sorted
  modseq     BIGINT NOT NULL,
  PRIMARY KEY (account, mailbox, uid)
) WITHOUT ROWID;
CREATE INDEX placement_email ON placement (account, email);
CREATE TABLE expunged (
  account    BIGINT NOT NULL,
  mailbox    BIGINT NOT NULL,
  modseq     BIGINT NOT NULL,
  uid        BIGINT NOT NULL,          -- the first …
  last       BIGINT NOT NULL,          -- … and last of a run of UIDs
  PRIMARY KEY (account, mailbox, modseq, uid)
) WITHOUT ROWID;

-- queue: what all entries of one letter share
CREATE TABLE queue_letter (
  id         BIGINT PRIMARY KEY,
  sender     TEXT NOT NULL,            -- empty: the null reverse-path
  body       TEXT NOT NULL,            -- 7BIT | 8BITMIME | BINARYMIME
  smtputf8   BIGINT NOT NULL,
  ret        TEXT NOT NULL,
  envid      TEXT NOT NULL,
  prefix     BLOB NOT NULL,            -- trace fields that every copy gets
  content    BIGINT NOT NULL,
  size       BIGINT NOT NULL,          -- prefix and content
  arrived    DOUBLE NOT NULL,
  expires    DOUBLE NOT NULL,
  parent     BIGINT                    -- the letter that this one is about, if we wrote it
);
CREATE INDEX queue_letter_content ON queue_letter (content) WHERE content <> id;
CREATE TABLE queue_entry (
  letter     BIGINT NOT NULL,
  number     BIGINT NOT NULL,          -- ID/1, ID/2 …
  recipient  TEXT NOT NULL,
  notify     BIGINT NOT NULL,          -- mail.envelope.Notify
  orcpt      TEXT NOT NULL,
  next_hop   TEXT NOT NULL,            -- 'local', a domain (MX look-up), or '[host]:port'
  state      TEXT NOT NULL,            -- active | held
  due        DOUBLE NOT NULL,
  attempts   BIGINT NOT NULL,
  reason     TEXT NOT NULL,            -- the last reply, '450 4.7.1 …'; empty before the first attempt
  warned     BIGINT NOT NULL,          -- 1: the delay warning has been sent
  holder     BIGINT NOT NULL,          -- 0: nobody
  lease      DOUBLE NOT NULL,          -- expires, the database's clock
  PRIMARY KEY (letter, number)
) WITHOUT ROWID;
CREATE INDEX queue_entry_due ON queue_entry (state, holder, due);

-- journey
CREATE TABLE journey (
  id         BIGINT NOT NULL,          -- the letter's, or of its own for a refused session
  part       BIGINT NOT NULL,          -- 0: up to acceptance; then a time-ordered id for each addition
  steps      BLOB NOT NULL,            -- journey.record.encode
  PRIMARY KEY (id, part)
);
CREATE TABLE journey_key (
  hour       BIGINT NOT NULL,          -- of the id; keeps the newest keys together
  hash       BIGINT NOT NULL,          -- journey.record.key_of
  id         BIGINT NOT NULL,
  PRIMARY KEY (hour, hash, id)
) WITHOUT ROWID;
