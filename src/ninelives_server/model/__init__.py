"""Nouns as frozen dataclasses and enums, one file each. No I/O."""
