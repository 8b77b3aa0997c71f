"""A subset of SOQL: tokens, syntax, parser, date literals and the engine that runs a query over rows."""
