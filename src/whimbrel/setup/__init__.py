"""A project file for a source that nobody has described yet."""
