"""The OAuth protocol as conversations without I/O; what is peculiar to one service lives in its provider."""
