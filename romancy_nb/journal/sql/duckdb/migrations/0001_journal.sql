-- 0001: the first journal. What the tables are for stands in ../schema.sql.

create schema romancy;

create table romancy.journal_meta (
    key   varchar not null,
    value varchar not null
);

create table romancy.history_rows (
    run  bigint  not null,
    seq  integer not null,
    kind varchar not null,
    body varchar not null
);

create table romancy.stored_payloads (
    digest  varchar not null,
    codec   varchar not null,
    size    bigint  not null,
    packing varchar not null,
    data    blob    not null
);
