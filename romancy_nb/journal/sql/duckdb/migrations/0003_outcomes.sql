-- What an activity came to that wrote through a session: committed together with its writes, before its event (S1).
create table romancy.outcomes (
    run  bigint  not null,
    call varchar not null,
    body varchar not null,
    primary key (run, call)
);
