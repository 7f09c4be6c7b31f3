-- A number that a recipient of a letter had is not given to another.

-- queue
ALTER TABLE queue_letter ADD COLUMN last BIGINT NOT NULL DEFAULT 1;  -- the greatest number ever given
UPDATE queue_letter SET last = COALESCE(
  (SELECT max(number) FROM queue_entry WHERE queue_entry.letter = queue_letter.id), 1);
