"""The only room with threads: takes the inbox, activates runs, commits once a turn, then dispatches."""
