"""Sealing of secrets and values: envelope keys, key ids, rotation."""
