"""The only door to the database: tables, units of work, one module per aggregate."""
