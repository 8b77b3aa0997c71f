"""The Pub/Sub API over gRPC.

Served by threads: a stream is one thread that waits for the log. That keeps it apart from any event loop, so
that a test may run the org and an asyncio client in one process.
"""
