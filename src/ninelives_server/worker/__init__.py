"""The worker process: supervisor, zygotes, session processes and the link to the server."""
