"""What becomes of an application's statements under the new key. Needs sqlglot, of the extra ``lake``."""
