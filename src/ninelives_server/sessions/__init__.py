"""Sessions: start, journal, parking, stop and retention."""
