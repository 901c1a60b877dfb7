"""What a transaction does, written once for the engines that speak SQL: SQLite and PostgreSQL.

Statements are in the words that both know, with SQLite's marks (`?`, `:name`); `stores.postgres.dialect` puts the few
that differ into PostgreSQL's. What rows have to be locked is said here too (`Transaction.lock_…`): SQLite has one
writer and does nothing.
"""
