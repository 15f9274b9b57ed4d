"""The only room that knows a database: where the journal is, who holds its file, how events become rows and are found again."""
