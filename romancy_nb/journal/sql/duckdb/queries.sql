-- The queries of the engine. People read the views of schema.sql instead.

-- name: schema_version
-- The number of the last migration that was applied, and the romancy_nb that applied it.
select key, value from romancy.journal_meta where key in ('schema_version', 'written_by');

-- name: schemas
-- Whatever users or we have put into this database: schema and name, one a row.
select schema_name, table_name from duckdb_tables() where not internal and database_name = current_database()
union all
select schema_name, view_name from duckdb_views() where not internal and database_name = current_database()
union all
select schema_name, '' from duckdb_schemas() where not internal and schema_name <> 'main' and database_name = current_database();

-- name: extent
-- How many events there are, whether their row ids are still 0, 1, 2 … without a hole, and the run of the first.
select count(*), coalesce(max(rowid), -1) + 1, (select run from romancy.history_rows where rowid = 0) from romancy.history_rows;

-- name: starts
-- Run key and instance of every run, in the order in which they were started.
select run, split_part(body, e'\t', 3) from romancy.history_rows where kind = 'run_started' order by rowid;

-- name: since
-- The events that came in at or after a row id.
select run, seq, kind, body from romancy.history_rows where rowid >= ? order by rowid;

-- name: tallies
-- Of a list of runs: how many events of each kind, and the last of each. heads.py makes heads of it.
select run, kind, count(*), max(seq), arg_max(body, seq)
from romancy.history_rows
where run in (select unnest(?::bigint[]))
group by run, kind;

-- name: tally
-- The same of one run, which is what a turn usually asks; without the join it takes two thirds of the time.
select run, kind, count(*), max(seq), arg_max(body, seq) from romancy.history_rows where run = ? group by run, kind;

-- name: open_runs
-- The runs whose last word is not an end.
select run
from romancy.history_rows
where kind like 'run\_%' escape '\'
group by run
having arg_max(kind, seq) not in ('run_completed', 'run_failed', 'run_cancelled', 'run_compensated', 'run_compensation_failed', 'run_recurred');

-- name: history
-- The events of one run, in order.
select seq, kind, body from romancy.history_rows where run = ? order by seq;

-- name: of_call
-- Those of one call, and those that say who took the run up.
select seq, kind, body
from romancy.history_rows
where run = ? and (split_part(body, e'\t', 3) = ? or kind in ('run_started', 'run_resumed', 'run_compensating'))
order by seq;

-- name: histories
-- The same of a list of runs.
select run, seq, kind, body from romancy.history_rows where run in (select unnest(?::bigint[])) order by run, seq;

-- name: outcomes
-- What activities of one run came to that wrote through a session.
select body from romancy.outcomes where run = ?;

-- name: inbox
-- What others ask of runs and nobody has taken up yet.
select id, run, kind, facts from romancy.inbox order by rowid;

-- name: arrived
-- One row when an event with this id has arrived in one of these runs.
select 1
from romancy.history_rows
where kind = 'event_arrived' and run in (select unnest(?::bigint[])) and split_part(body, e'\t', 5) = ?
limit 1;

-- name: subscriptions
-- Run, channel and mode of every subscription, in the order in which they came.
select run, split_part(body, e'\t', 4), nullif(split_part(body, e'\t', 8), '')::json ->> '$.mode'
from romancy.history_rows
where kind = 'subscribed'
order by rowid;

-- name: last_wait
-- The newest wait of a run for events with this name.
select body
from romancy.history_rows
where kind = 'wait_started' and run = ? and split_part(body, e'\t', 4) = ?
order by seq desc
limit 1;

-- name: asking
-- Which of these runs have asked people anything.
select distinct run
from romancy.history_rows
where kind = 'wait_started' and run in (select unnest(?::bigint[])) and contains(split_part(body, e'\t', 8), '"what":"ask"');

-- name: results
-- The rows with which these runs completed.
select run, seq, kind, body
from romancy.history_rows
where kind = 'run_completed' and run in (select unnest(?::bigint[]));

-- name: turn
-- One row when a turn with this number got in.
select 1 from romancy.history_rows where split_part(body, e'\t', 2) = ? limit 1;

-- name: texts
-- Long JSON texts by their digests.
select digest, decode(data) from romancy.stored_payloads where packing = 'text' and digest in (select unnest(?::varchar[]));

-- name: parts
-- Binary parts by their digests.
select digest, packing, data from romancy.stored_payloads where packing <> 'text' and digest in (select unnest(?::varchar[]));

-- name: known
-- Which of these digests are stored: digest, and whether as text.
select digest, packing = 'text' from romancy.stored_payloads where digest in (select unnest(?::varchar[]));
