"""The side door for tests: what was asked of the org, and faults on demand."""
