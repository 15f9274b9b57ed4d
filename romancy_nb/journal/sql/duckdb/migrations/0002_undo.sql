-- Nothing changes but views: runs know of undo, and there are rows in `compensations`.
select 1;
