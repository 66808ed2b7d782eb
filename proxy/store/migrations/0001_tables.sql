-- The store's identity, and the one counter that gives every commit its number: whoever commits holds this row's lock
-- until the commit is done, so numbers become visible in their order and without gaps.
CREATE TABLE bearerd.meta (
  one integer PRIMARY KEY CHECK (one = 1),
  store_id text NOT NULL,
  key_id text,
  commits bigint NOT NULL,
  place text NOT NULL,   -- the database that the tables were made in
  state text NOT NULL    -- why the store is out of use; empty: it is in use
);

-- Names sort by their bytes, as in the embedded store.
CREATE TABLE bearerd.records (
  name text COLLATE "C" PRIMARY KEY,
  generation bigint NOT NULL CHECK (generation > 0),
  sealed bytea NOT NULL,
  previous bytea,                 -- the generation before, still sealed: for a diagnosis, never for use
  commit_number bigint NOT NULL,  -- the last commit that wrote the row
  spending_holder text,           -- who spends the token that the row holds, and until when that must be over
  spending_until timestamptz,
  CHECK ((spending_holder IS NULL) = (spending_until IS NULL))
);
CREATE INDEX records_commit_number ON bearerd.records (commit_number);
-- Sealed values do not compress.
ALTER TABLE bearerd.records ALTER COLUMN sealed SET STORAGE EXTERNAL, ALTER COLUMN previous SET STORAGE EXTERNAL;

-- Names that are gone, for those who ask what has changed. A name that comes back is taken out.
CREATE TABLE bearerd.deletions (
  name text COLLATE "C" PRIMARY KEY,
  commit_number bigint NOT NULL
);
CREATE INDEX deletions_commit_number ON bearerd.deletions (commit_number);

-- Who may spend the token of a grant.
CREATE TABLE bearerd.leases (
  name text COLLATE "C" PRIMARY KEY,
  holder text NOT NULL,
  until timestamptz NOT NULL
);
