"""The JSON API under `/api/v1`, webhooks and the worker link; it translates, services decide."""
