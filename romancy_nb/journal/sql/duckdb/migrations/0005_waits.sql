-- Nothing changes but views: runs wait for events and children, and go on in new runs.
select 1;
