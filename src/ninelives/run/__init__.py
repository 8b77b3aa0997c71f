"""What runs inside a session process: loading, rewriting, deciding, recording and replaying."""
