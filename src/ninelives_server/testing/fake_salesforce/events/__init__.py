"""The event bus of the org: Avro schemas, change events with their bitmaps, and the log that is replayed."""
