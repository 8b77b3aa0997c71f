"""The REST API under `/services/data`: records, queries, composite requests and the Tooling API's queries."""
