-- journey: those that journey_key does not lead to yet. Keys come in no order; what would cost each letter a
-- page or two of the disk is done for many at a time (journey.catalogue).
CREATE TABLE journey_new (
  id         BIGINT PRIMARY KEY
);
