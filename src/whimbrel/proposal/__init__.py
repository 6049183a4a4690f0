"""A design for the tables of a source, from its schema and the application's statements: see docs/design.md."""
