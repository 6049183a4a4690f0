"""The source text of generated mappings: what is common to all shapes, records, groups; and what refuses a row."""
