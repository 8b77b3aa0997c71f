"""The fixture `database` (SQLite and PostgreSQL) is in `tests/conftest.py`; tests of all nouns use it."""
