-- Nothing changes but views: there is `limits`, and `steps` knows of calls that wait for one.
select 1;
