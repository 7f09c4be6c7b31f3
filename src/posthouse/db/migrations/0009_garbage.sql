-- db: objects whose row is gone stay for a while; those whose time is over are found at once
CREATE INDEX blob_garbage_since ON blob_garbage (since, name);
