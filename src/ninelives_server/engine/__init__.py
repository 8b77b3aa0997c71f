"""Temporal: the client, the session workflow and the embedded server."""
