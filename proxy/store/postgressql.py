"""What the team's store says to PostgreSQL.

A commit raises `meta.commits` and so locks that row until it is done: numbers become visible in their order. The row of
`meta` is always locked before one of `records`, so that no two commits wait for each other. Under READ COMMITTED a
statement that had to wait for a lock looks at the locked row again, and at no other: so every condition on a row stands
in the statement that locks it, and what the others say is checked in each case by the row that was locked first.
"""

# ruff: noqa: S608  put together from constants only

_ROW = (
    "SELECT name, generation, sealed, spending_holder, "
    "extract(epoch FROM spending_until - clock_timestamp())::float8 FROM bearerd.records "
)
READ = _ROW + "WHERE name = $1"
# A range, unlike LIKE, uses the index and knows no wildcards.
READ_ALL = _ROW + "WHERE name >= $1 AND name < $2 AND name > $3 ORDER BY name LIMIT $4"
CHANGED = _ROW + "WHERE commit_number > $1 AND commit_number <= $2 ORDER BY name"
GONE = "SELECT name FROM bearerd.deletions WHERE commit_number > $1 AND commit_number <= $2 ORDER BY name"

SCHEMA = 1  # the number of the last migration that these statements know
_LAST = "SELECT max(number) FROM bearerd.migrations"
META = f"SELECT store_id, key_id, commits, state, place, ({_LAST}) FROM bearerd.meta"
META_LOCKED = META + " FOR UPDATE"
COUNTS = "SELECT split_part(name, '/', 1), count(*) FROM bearerd.records GROUP BY 1 ORDER BY 1"

# A server goes on running while a newer program migrates: from then on it must not write, knowing the old tables only.
_STANDING = f"key_id IS NOT DISTINCT FROM $1::text AND state = $2 AND ({_LAST}) = {SCHEMA}"
_AT_GENERATION = "SELECT FROM bearerd.records WHERE name = $3 AND generation = $4"
# The number may be taken and the row be moved all the same, by a commit that ended while we waited for its lock: then
# no row comes back, and the caller rolls back.
_NUMBERED = f"""
WITH numbered AS (
  UPDATE bearerd.meta SET commits = commits + 1 WHERE {_STANDING} AND EXISTS ({_AT_GENERATION}) RETURNING commits
)"""
UPDATE = f"""{_NUMBERED}
UPDATE bearerd.records SET
  generation = generation + 1, previous = sealed, sealed = $5, commit_number = numbered.commits,
  spending_holder = NULL, spending_until = NULL
FROM numbered WHERE name = $3 AND generation = $4 RETURNING 1"""
DELETE = f"""{_NUMBERED}, gone AS (
  DELETE FROM bearerd.records USING numbered WHERE name = $3 AND generation = $4 RETURNING name, numbered.commits
)
INSERT INTO bearerd.deletions (name, commit_number) SELECT name, commits FROM gone
ON CONFLICT (name) DO UPDATE SET commit_number = excluded.commit_number RETURNING 1"""
# With the row of `meta` locked: nobody else commits meanwhile.
DISCARD = """
DELETE FROM bearerd.records USING unnest($1::text[], $2::bigint[]) AS unwanted (name, generation)
WHERE records.name = unwanted.name AND records.generation = unwanted.generation RETURNING records.name"""
DISCARDED = """
INSERT INTO bearerd.deletions (name, commit_number)
SELECT name, $1 + place FROM unnest($2::text[]) WITH ORDINALITY AS gone (name, place)
ON CONFLICT (name) DO UPDATE SET commit_number = excluded.commit_number"""
INSERT = f"""
WITH numbered AS (
  UPDATE bearerd.meta SET commits = commits + 1
  WHERE {_STANDING} AND NOT EXISTS (SELECT FROM bearerd.records WHERE name = $3) RETURNING commits
), back AS (
  DELETE FROM bearerd.deletions USING numbered WHERE name = $3
)
INSERT INTO bearerd.records (name, generation, sealed, commit_number) SELECT $3, 1, $4, commits FROM numbered
ON CONFLICT (name) DO NOTHING RETURNING 1"""

ADOPT_KEY = "UPDATE bearerd.meta SET key_id = $1, commits = commits + 1 WHERE key_id IS NULL RETURNING 1"
PAGE = "SELECT name, generation, sealed, previous FROM bearerd.records WHERE name > $1 ORDER BY name LIMIT $2"
RESEAL = """
UPDATE bearerd.records SET sealed = renewed.sealed, previous = renewed.previous, commit_number = $1
FROM unnest($2::text[], $3::bytea[], $4::bytea[]) AS renewed (name, sealed, previous)
WHERE records.name = renewed.name"""
ADD = """
INSERT INTO bearerd.records (name, generation, sealed, commit_number) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO NOTHING RETURNING 1"""

EMPTY = "DELETE FROM bearerd.records; DELETE FROM bearerd.deletions; DELETE FROM bearerd.leases"
BEGIN_ANEW = "UPDATE bearerd.meta SET store_id = $1, key_id = $2, commits = $3, state = $4"
LOAD = """
INSERT INTO bearerd.records (name, generation, sealed, commit_number)
SELECT name, generation, sealed, $1 FROM unnest($2::text[], $3::bigint[], $4::bytea[]) AS row (name, generation, sealed)
ON CONFLICT (name) DO UPDATE SET
  generation = excluded.generation, sealed = excluded.sealed, previous = NULL, commit_number = excluded.commit_number,
  spending_holder = NULL, spending_until = NULL"""

# By the clock as it is when the row is locked, not as it was when the statement began to wait.
LEASE = """
INSERT INTO bearerd.leases (name, holder, until) VALUES ($1, $2, clock_timestamp() + $3 * interval '1 second')
ON CONFLICT (name) DO UPDATE SET holder = $2, until = clock_timestamp() + $3 * interval '1 second'
WHERE leases.holder = $2 OR leases.until <= clock_timestamp() RETURNING 1"""
LEASED = "SELECT holder, extract(epoch FROM until - clock_timestamp())::float8 FROM bearerd.leases WHERE name = $1"
RELEASE = "DELETE FROM bearerd.leases WHERE name = $1 AND holder = $2"
RELEASE_ALL = "DELETE FROM bearerd.leases WHERE holder = $1"
# A lease that is not over by the clock is nobody else's, however old our view of its row may be. The lock of `meta`
# lets commits pass, but neither a new key nor a new state.
MARK = f"""
UPDATE bearerd.records SET spending_holder = $4, spending_until = clock_timestamp() + $6 * interval '1 second'
WHERE name = $3 AND generation = $5
  AND (spending_holder IS NULL OR spending_holder = $4 OR spending_until <= clock_timestamp())
  AND EXISTS (SELECT FROM bearerd.leases WHERE leases.name = $3 AND holder = $4 AND until > clock_timestamp())
  AND EXISTS (SELECT FROM bearerd.meta WHERE {_STANDING} FOR KEY SHARE)
RETURNING 1"""
UNMARK = """
UPDATE bearerd.records SET spending_holder = NULL, spending_until = NULL WHERE name = $1 AND spending_holder = $2"""
