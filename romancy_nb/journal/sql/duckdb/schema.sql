-- The journal in DuckDB.
--
-- Tables are made by the numbered migrations beside this file, and never otherwise; the views, which hold nothing, are
-- made anew from this file whenever a migration was applied. A change to a view therefore needs a (possibly empty)
-- migration too. Everything lives in schema `romancy`: the default schema of the database is the user's.
--
-- The truth is one append-only table.
--
--   history_rows     run, seq, kind, body. One row an event; what the kinds mean stands in core/events.py. A run is
--                    known by a 63-bit key and seq counts from 1 in it. `body` is text of ten fields between tabs,
--                    written by journal/rows.py:
--
--                        1 at  2 turn  3 call  4 name  5 digest  6 code  7 attempt  8 meta  9 parts  10 payload
--
--                    One column instead of ten because a turn of the engine writes two rows, durably, before
--                    anything happens, and every further column costs a commit about 5 %. The payload is JSON; empty
--                    for none; '@' and a digest where the JSON is over 8 kB and stands in stored_payloads.
--   stored_payloads  long JSON texts (packing 'text', as they are, for SQL to read) and the binary parts of payloads
--                    (packing 'plain' or 'zlib'), each content once; with codec 'code' the code of activities, under a
--                    digest of name and fingerprint (definitions/told.py). Unique by (digest, packing = 'text'); not
--                    declared so, because an index would cost every commit that writes here.
--   outcomes         run, call, body: the outcome of an activity that wrote through a session (an outcome_recorded event, as a
--                    body), committed in the transaction of those writes. The event itself follows in the next turn.
--   inbox            id, run, kind, facts (JSON): what another process asks of a run that a living one advances. It goes away in
--                    the commit of the event that says that it was taken up.
--   journal_meta     schema_version, written_by.
--
-- There is no table of runs, statuses or timers, because an UPDATE costs 3 ms and a fold costs nothing to keep right.
-- A run's status is its last `run_*` event. Fences are checked when the file is opened (D1, D3), not in each write.
--
-- The public views are instances, runs, steps, attempts, compensations, limits and events. Their columns are an interface: add at
-- the end, change nothing. Times are TIMESTAMPTZ, inputs, outputs, errors and meta are JSON. event_fields, event_payloads,
-- run_starts and run_facts are inner views without that promise.

-- Inner: the fields of a body, apart.
create or replace view romancy.event_fields as
select
    run                          as run_key,
    seq,
    kind,
    make_timestamptz(f[1]::bigint) as "at",
    f[3]                         as call,
    f[4]                         as name,
    f[5]                         as digest,
    f[6]                         as code,
    f[7]::integer                as attempt,
    nullif(f[8], '')::json       as meta,
    f[10]                        as text
from (select run, seq, kind, string_split(body, e'\t') as f from romancy.history_rows);

-- Inner: the same with the payload as JSON, wherever it is kept.
create or replace view romancy.event_payloads as
select
    e.* exclude (text),
    case
        when e.text = '' then null
        when starts_with(e.text, '@') then decode(p.data)::json
        else e.text::json
    end as payload
from romancy.event_fields e
left join romancy.stored_payloads p
    on p.packing = 'text' and starts_with(e.text, '@') and p.digest = substr(e.text, 2);

-- Inner: which run is which. The views below join it *before* they group, and group by instance too: a filter on the
-- instance is pushed through a grouping by that column, and then only the rows of its runs are read (a quarter of the time).
create or replace view romancy.run_starts as
select run_key, call as instance_id, coalesce((meta ->> '$.number')::integer, 1) as number
from romancy.event_fields
where kind = 'run_started';

-- Inner: what one run comes to. `status` as in Head: waiting means running with nothing open but timers.
create or replace view romancy.run_facts as
select
    *,
    case
        when last_kind in ('run_started', 'run_resumed') then
            case when open_timers > 0 and open_activities <= 0 then 'waiting' else 'running' end
        when last_kind = 'run_undo_paused' then 'compensating'
        else substr(last_kind, 5)
    end as status,
    last_kind in ('run_completed', 'run_failed', 'run_cancelled', 'run_compensated', 'run_compensation_failed',
                  'run_recurred') as ended
from (
    -- the run's own events are few, so only these are taken apart
    select
        run_key,
        instance_id,
        number,
        any_value(name)    filter (where kind = 'run_started') as workflow,
        any_value(code)    filter (where kind = 'run_started') as code_hash,
        any_value(payload) filter (where kind = 'run_started') as input,
        any_value("at")    filter (where kind = 'run_started') as started_at,
        any_value(meta ->> '$.reason') filter (where kind = 'run_started') as reason,
        any_value(meta ->> '$.parent.instance') filter (where kind = 'run_started') as parent,
        arg_max(coalesce(meta ->> '$.owner', ''), seq) filter (
            where kind in ('run_started', 'run_resumed', 'run_undo_paused')
               or (kind = 'run_compensating' and (meta ->> '$.owner') is not null)
        ) as owner,
        arg_max(meta ->> '$.notebook', seq) filter (where kind in ('run_started', 'run_resumed')) as notebook,
        arg_min_null(payload, seq) filter (where kind = 'run_compensating') as undone_for,
        arg_max(kind, seq)         as last_kind,
        arg_max("at", seq)         as last_at,
        arg_max_null(meta, seq)    as last_meta,
        arg_max_null(payload, seq) as last_payload
    from romancy.event_payloads
    join romancy.run_starts using (run_key)
    where starts_with(kind, 'run_')
    group by run_key, instance_id, number
) life
join (
    select
        run_key,
        instance_id,
        number,
        make_timestamptz(split_part(arg_max(body, seq), e'\t', 1)::bigint) as updated_at,
        count(*) filter (where kind = 'activity_scheduled')
            - count(*) filter (where kind in ('activity_completed', 'activity_failed', 'call_cancelled'))
            as open_activities,
        count(*) filter (where kind in ('timer_started', 'wait_started', 'child_started'))
            - count(*) filter (
                where kind in ('timer_fired', 'timer_cancelled', 'event_received', 'wait_cancelled',
                               'child_completed', 'child_failed', 'child_cancelled')
            ) as open_timers
    from romancy.history_rows h
    join romancy.run_starts s on s.run_key = h.run
    group by run_key, instance_id, number
) pulse using (run_key, instance_id, number);

-- One row an instance: its newest run. `run` is that run's number; `owner` the process that took it up last; `parent` the id of
-- the instance whose child it is.
create or replace view romancy.instances as
select
    instance_id,
    arg_max(workflow, number)       as workflow,
    arg_max(status, number)         as status,
    max(number)                     as run,
    min(started_at)                 as created_at,
    arg_max(updated_at, number)     as updated_at,
    arg_max(owner, number)          as owner,
    arg_max_null(notebook, number)  as notebook,
    arg_max_null(parent, number)    as parent
from romancy.run_facts
group by instance_id;

-- One row a run. `parent` is the id of the instance that began it as its child. `error` is the error of a failed or paused run, and what a stuck or cancelled one says of itself.
create or replace view romancy.runs as
select
    instance_id,
    number                                                     as run,
    reason,
    status,
    code_hash,
    started_at,
    case when ended then last_at end                           as finished_at,
    input,
    case when last_kind = 'run_completed' then last_payload end as output,
    case
        when last_kind in ('run_failed', 'run_paused', 'run_compensated', 'run_compensation_failed') then last_payload
        when last_kind in ('run_stuck', 'run_cancelled', 'run_undo_paused') then coalesce(last_payload, last_meta)
        when last_kind = 'run_compensating' then undone_for
    end                                                        as error,
    parent
from romancy.run_facts;

-- One row a step: an activity call, a timer or a deterministic helper; `seq` is that of its first intent and names the
-- step. `kind` is activity, timer, side_effect, event (a wait for one), question, message (a wait for one), child,
-- subscription or publication; `origin` is reused when an earlier record answered it.
-- An outcome that is recorded but not delivered yet counts. An activity without an outcome is `running` while its run is
-- running or waiting, and `in_doubt` once the run is paused, stuck or ended: it may have had its effect. One of a limited
-- activity is `waiting` while its next attempt waits for its turn (or for its time), and `failed` if the run ended so. What the
-- code itself cancelled has one of the five statuses too: a cancelled activity call reads `failed` with no error, a
-- cancelled timer (and one whose run has ended) `completed`. `attempts` counts those on record: the first one of a
-- running step may not be yet.
create or replace view romancy.steps as
select
    c.instance_id,
    c.number as run,
    c.seq,
    c.call,
    c.kind,
    c.name,
    case
        when c.kind = 'side_effect' then case when c.ok then 'completed' else 'failed' end
        when c.kind in ('subscription', 'publication') then 'completed'
        when c.kind = 'timer' then
            case when c.fired or c.cancelled_seq > 0 or r.ended then 'completed' else 'waiting' end
        when c.kind in ('event', 'question', 'message', 'child') then
            case
                when c.delivered = 'child_failed' then 'failed'
                when c.fired or c.delivered_seq > 0 or c.cancelled_seq > 0 or r.ended then 'completed'
                else 'waiting'
            end
        when c.delivered_seq > c.opened_seq then
            case when c.delivered = 'activity_completed' then 'completed' else 'failed' end
        when c.cancelled_seq > c.opened_seq then 'failed'
        when c.recorded_seq > c.opened_seq then case when c.recorded_ok then 'completed' else 'failed' end
        when c.limited and c.begun_seq <= c.missed_seq then case when r.ended then 'failed' else 'waiting' end
        when r.status in ('running', 'waiting') then 'running'
        else 'in_doubt'
    end as status,
    case when c.reused then 'reused' else 'executed' end as origin,
    c.attempts,
    c.started_at,
    case
        when c.kind in ('side_effect', 'subscription', 'publication') then c.started_at
        when c.last_seq_of_outcome > c.opened_seq then c.finished_at
    end as finished_at,
    c.input,
    case
        when c.kind = 'side_effect' then case when c.ok then c.intent_payload end
        when c.delivered_seq > c.opened_seq then case when c.delivered in ('activity_completed', 'event_received', 'child_completed') then c.delivered_payload end
        when c.recorded_seq > c.opened_seq and c.recorded_ok then c.recorded_payload
    end as output,
    case
        when c.kind = 'side_effect' then case when not c.ok then c.intent_payload end
        when c.delivered_seq > c.opened_seq then
            case when c.delivered in ('activity_failed', 'child_failed') then c.delivered_payload end
        when c.cancelled_seq > c.opened_seq then null
        when c.recorded_seq > c.opened_seq and not c.recorded_ok then c.recorded_payload
    end as error
from (
    select
        run_key,
        instance_id,
        number,
        call,
        min(seq)                        filter (where is_intent) as seq,
        any_value(
            case kind
                when 'activity_scheduled' then 'activity'
                when 'timer_started' then 'timer'
                when 'wait_started' then
                    case meta ->> '$.what' when 'ask' then 'question' when 'message' then 'message' else 'event' end
                when 'child_started' then 'child'
                when 'subscribed' then 'subscription'
                when 'message_published' then 'publication'
                else kind
            end
        )                               filter (where is_intent) as kind,
        any_value(name)                 filter (where is_intent) as name,
        min("at")                       filter (where is_intent) as started_at,
        arg_max_null(payload, seq)      filter (where is_intent) as intent_payload,
        arg_max_null(payload, seq)      filter (
            where kind in ('activity_scheduled', 'wait_started', 'child_started', 'message_published')
        ) as input,
        coalesce(bool_or((meta ->> '$.ok') = 'false') filter (where kind = 'side_effect'), false) = false as ok,
        coalesce(bool_or(meta ->> '$.reused' is not null), false) as reused,
        coalesce(bool_or(meta ->> '$.limit' is not null) filter (where is_intent), false) as limited,
        coalesce(max(seq)               filter (where kind = 'attempt_started'), 0) as begun_seq,
        coalesce(max(seq)               filter (where kind = 'attempt_failed'), 0) as missed_seq,
        coalesce(max(attempt)           filter (where kind <> 'late_outcome'), 0) as attempts,
        max(seq)                        filter (where is_intent or kind = 'attempt_started') as opened_seq,
        coalesce(max(seq)               filter (where is_delivered), 0) as delivered_seq,
        arg_max(kind, seq)              filter (where is_delivered) as delivered,
        arg_max_null(payload, seq)      filter (where is_delivered) as delivered_payload,
        coalesce(max(seq)               filter (where kind = 'outcome_recorded'), 0) as recorded_seq,
        coalesce(arg_max((meta ->> '$.ok') <> 'false', seq) filter (where kind = 'outcome_recorded'), true) as recorded_ok,
        arg_max_null(payload, seq)      filter (where kind = 'outcome_recorded') as recorded_payload,
        coalesce(max(seq)               filter (where is_given_up), 0) as cancelled_seq,
        coalesce(bool_or(kind = 'timer_fired'), false) as fired,
        coalesce(max(seq)               filter (where is_outcome), 0) as last_seq_of_outcome,
        coalesce(
            arg_max("at", seq)          filter (where is_delivered),
            arg_min("at", seq)          filter (where is_outcome)
        ) as finished_at
    from (
        select
            *,
            kind in ('activity_scheduled', 'timer_started', 'side_effect', 'wait_started', 'child_started', 'subscribed',
                     'message_published') as is_intent,
            kind in ('activity_completed', 'activity_failed', 'timer_fired', 'event_received', 'child_completed',
                     'child_failed') as is_delivered,
            kind in ('activity_completed', 'activity_failed', 'timer_fired', 'event_received', 'child_completed',
                     'child_failed', 'outcome_recorded', 'call_cancelled', 'timer_cancelled', 'wait_cancelled',
                     'child_cancelled') as is_outcome,
            kind in ('call_cancelled', 'timer_cancelled', 'wait_cancelled', 'child_cancelled') as is_given_up
        from romancy.event_payloads
        join romancy.run_starts using (run_key)
        where call <> '' and kind <> 'run_started'
    )
    group by run_key, instance_id, number, call
    having count(*) filter (where is_intent) > 0
) c
join romancy.run_facts r using (run_key, instance_id, number);

-- One row an attempt of an activity in the run that made it; `seq` is its step's. `status` is running, completed, failed or
-- abandoned (left running after a timeout or Stop). What was reused was not attempted and is not here.
create or replace view romancy.attempts as
select
    instance_id,
    number as run,
    i.seq,
    a.call,
    i.name,
    a.attempt,
    case when a.completed then 'completed' when a.failed then 'failed' when a.abandoned then 'abandoned' else 'running' end
        as status,
    coalesce(a.started_at, i.started_at) as started_at,
    a.finished_at,
    a.error
from (
    select
        run_key,
        instance_id,
        number,
        call,
        attempt,
        min("at") filter (where kind = 'attempt_started') as started_at,
        min("at") filter (where kind not in ('attempt_started', 'late_outcome')) as finished_at,
        bool_or(kind = 'activity_completed' or (kind = 'outcome_recorded' and (meta ->> '$.ok') <> 'false')) as completed,
        bool_or(kind in ('attempt_failed', 'activity_failed') or (kind = 'outcome_recorded' and (meta ->> '$.ok') = 'false'))
            as failed,
        bool_or(kind = 'attempt_abandoned') as abandoned,
        arg_min(payload, seq) filter (
            where kind in ('attempt_failed', 'activity_failed') or (kind = 'outcome_recorded' and (meta ->> '$.ok') = 'false')
        ) as error
    from romancy.event_payloads
    join romancy.run_starts using (run_key)
    where attempt > 0 and call <> '' and (meta ->> '$.reused') is null
    group by run_key, instance_id, number, call, attempt
) a
join (
    select run_key, instance_id, number, e.call, min(seq) as seq, min("at") as started_at, any_value(name) as name
    from romancy.event_fields e
    join romancy.run_starts using (run_key)
    where kind = 'activity_scheduled'
    group by run_key, instance_id, number, e.call
) i using (run_key, instance_id, number, call);

-- One row an undo that was begun: by the engine when a run is undone, or by the code itself (rn.saga). `of_call` is the
-- place of the call that it undoes, `seq` the number of its own intent. `status` is running, completed, failed, or what a
-- person decided: skipped, done. `attempts` counts those on record.
create or replace view romancy.compensations as
select
    instance_id,
    number as run,
    seq,
    of_call,
    name,
    case
        when resolved_seq > greatest(opened_seq, ended_seq) and resolved = 'skip' then 'skipped'
        when resolved_seq > greatest(opened_seq, ended_seq) and resolved = 'done' then 'done'
        when ended_seq > opened_seq then case when ended like '%\_completed' escape '\' then 'completed' else 'failed' end
        else 'running'
    end as status,
    attempts,
    started_at,
    case when greatest(ended_seq, resolved_seq) > opened_seq then finished_at end as finished_at,
    case when ended_seq > opened_seq and ended like '%\_failed' escape '\' then error end as error
from (
    select
        run_key,
        instance_id,
        number,
        call,
        min(seq)                    filter (where is_intent) as seq,
        coalesce(any_value(meta ->> '$.undoes') filter (where is_intent), substr(call, 6)) as of_call,
        any_value(name)             filter (where is_intent) as name,
        max(attempt)                as attempts,
        min("at")                   filter (where is_intent) as started_at,
        max(seq)                    filter (where is_intent or kind = 'attempt_started') as opened_seq,
        coalesce(max(seq)           filter (where is_outcome), 0) as ended_seq,
        arg_max(kind, seq)          filter (where is_outcome) as ended,
        arg_max_null(payload, seq)  filter (where is_outcome) as error,
        max("at")                   filter (where is_outcome or kind = 'compensation_resolved') as finished_at,
        coalesce(max(seq)           filter (where kind = 'compensation_resolved'), 0) as resolved_seq,
        arg_max(meta ->> '$.action', seq) filter (where kind = 'compensation_resolved') as resolved
    from (
        select
            *,
            kind = 'compensation_scheduled' or (kind = 'activity_scheduled' and (meta ->> '$.undoes') is not null)
                as is_intent,
            kind in ('compensation_completed', 'compensation_failed', 'activity_completed', 'activity_failed')
                as is_outcome
        from romancy.event_payloads
        join romancy.run_starts using (run_key)
        where call <> '' and kind <> 'run_started'
    )
    group by run_key, instance_id, number, call
    having count(*) filter (where is_intent) > 0
);

-- One row a limit that calls were made under (rn.limit), with the figures that counted when a call of it was last made or
-- begun; null: any number. Counted are calls of runs that are not paused or ended: `running`, an attempt of theirs has begun
-- (one that was abandoned counts no more); `queued`, the next one waits for its turn or, after a failure, for its time.
-- `updated_at` is when anything last happened to one of its calls.
create or replace view romancy.limits as
select
    name,
    arg_max_null(concurrency, (figures_at, figures_seq)) as concurrency,
    arg_max_null(per_second, (figures_at, figures_seq))  as per_second,
    count(*) filter (where is_open and begun)            as running,
    count(*) filter (where is_open and not begun)        as queued,
    max(updated_at)                                      as updated_at
from (
    select
        unnest(c.figures, recursive := true),
        c.figures_at,
        c.figures_seq,
        c.begun_seq > c.missed_seq as begun,
        c.settled_seq < greatest(c.opened_seq, c.begun_seq) and r.status in ('running', 'waiting', 'compensating') as is_open,
        c.updated_at
    from (
        select
            run_key,
            call,
            from_json(
                arg_max(meta -> '$.limit', seq),
                '[{"name": "VARCHAR", "concurrency": "INTEGER", "per_second": "DOUBLE"}]'
            )                                                                as figures,
            arg_max("at", seq) filter (where meta ->> '$.limit' is not null)  as figures_at,
            max(seq)           filter (where meta ->> '$.limit' is not null)  as figures_seq,
            min(seq)                                                         as opened_seq,
            coalesce(max(seq)  filter (where kind = 'attempt_started'), 0)    as begun_seq,
            coalesce(max(seq)  filter (where kind = 'attempt_failed'), 0)     as missed_seq,
            coalesce(max(seq)  filter (
                where kind in ('activity_completed', 'activity_failed', 'outcome_recorded', 'call_cancelled',
                               'compensation_completed', 'compensation_failed')
            ), 0)                                                            as settled_seq,
            max("at")                                                        as updated_at
        from romancy.event_fields
        where call <> '' and kind <> 'run_started'
        group by run_key, call
        having arg_max(meta -> '$.limit', seq) is not null
    ) c
    join romancy.run_facts r using (run_key)
)
group by name;

-- One row an event, as it is. `call` is empty for events of the run. (`at` is a reserved word: write "at".)
create or replace view romancy.events as
select
    r.instance_id,
    r.number as run,
    e.seq,
    e.kind,
    e."at",
    case when e.kind = 'run_started' then '' else e.call end as call,
    e.name,
    e.attempt,
    e.payload,
    e.meta
from romancy.event_payloads e
join romancy.run_starts r using (run_key);
