-- What others ask of a run that a living process advances (U3): its owner takes it up, with the event that says so, in one commit.
create table romancy.inbox (
    id    bigint  not null,
    run   bigint  not null,
    kind  varchar not null,
    facts varchar not null
);
