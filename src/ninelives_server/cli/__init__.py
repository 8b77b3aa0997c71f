"""The command line: one file per command group; talks HTTP, except `up`, `worker`, `server` and `demo`."""
