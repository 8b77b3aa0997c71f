"""Ingest (the only door in), dispatch, filters, webhooks and event sources."""
