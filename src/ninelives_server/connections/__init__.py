"""Connections: their life, credentials, authorisation, refresh and health."""
