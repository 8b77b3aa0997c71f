"""Integrations that need code, one folder each; loaded by name, never imported."""
