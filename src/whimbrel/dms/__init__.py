"""AWS DMS table-mapping files, as they are: read, checked against the live schema, and turned into whimbrel's rules.

``read`` reads the JSON, ``select`` says which tables it means, ``transform`` what it does to their columns, and
``translate`` puts it all together as ``TableRule``s. Pure: the schema comes from the caller. What DMS leaves open is
decided in docs/dms.md, once. A file is taken whole or not at all: everything that is wrong with it is said at once, by
rule-id.
"""
