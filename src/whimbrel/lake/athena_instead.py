"""What to write instead of SQL that is not known to give the same answer in Athena, for whoever is refused."""

from __future__ import annotations

_TIME = (
    "Times as ISO text sort and compare as the times do; substr(t, 1, 7) is the month, and "
    "CAST(substr(t, 1, 10) AS DATE) the day."
)
_REGEX = "Each engine has regular expressions of its own kind: use LIKE, ILIKE, strpos or replace."
_LIST = "Put the list's elements in rows: FROM t, UNNEST(t.list) AS u(x)."
_FIRST = "Use QUALIFY row_number() OVER (PARTITION BY ... ORDER BY ...) = 1."
_SPACE = "Each engine takes other characters for spaces: use replace(x, ' ', '')."
_ROUNDED = "Athena has only an approximate one."
_ORDER = "The order of its values is not the same: give the rows, with ORDER BY."
_NOW = "Write the time down: DATE '2026-01-31'."
_SETS = "Use UNION ALL of one question for each set, or ROLLUP or CUBE of columns."
_JOINED = "Use WHERE EXISTS (...), or NOT EXISTS (...)."

# By the name that sqlglot has of the part, or that SQL has of the function.
INSTEAD = {
    **dict.fromkeys(("Date", "Timestamp", "TimestampTrunc", "DateTrunc", "TimeToStr", "UnixToTime", "Interval"), _TIME),
    **dict.fromkeys(("StrToTime", "TsOrDsToDate", "Hour", "Minute", "Second", "DayOfWeek"), _TIME),
    **dict.fromkeys(("RegexpLike", "RegexpReplace", "RegexpExtract", "RegexpFullMatch", "SimilarTo", "Glob"), _REGEX),
    **dict.fromkeys(
        ("Explode", "Posexplode", "Transform", "ArrayFilter", "Slice", "ArrayDistinct", "SortArray"), _LIST
    ),
    **dict.fromkeys(("ArrayMax", "ArrayMin", "ArrayToString", "list_sum", "list_avg"), _LIST),
    **dict.fromkeys(("DISTINCT ON", "ArgMax", "ArgMin", "First", "Last"), _FIRST),
    "AnyValue": "Use min or max.",
    "Trim": _SPACE,
    **dict.fromkeys(("Median", "PercentileCont", "PercentileDisc", "Quantile", "Mode"), _ROUNDED),
    "ApproxDistinct": "Use count(DISTINCT x).",
    "ApproxQuantile": "Each engine comes to another number.",
    "Log": "Use ln(x) / ln(10).",
    "ConcatWs": "Write the separator between the texts: a || '-' || b.",
    "cardinality": "Use len.",
    "date_part": "Use year(x), month(x) or day(x).",
    **dict.fromkeys(("ArrayAgg", "GroupConcat"), _ORDER),
    **dict.fromkeys(("CurrentDate", "CurrentTimestamp", "Localtimestamp", "now", "today"), _NOW),
    "GroupingSets": _SETS,
    **dict.fromkeys(("SEMI", "ANTI"), _JOINED),
    "Tuple": "Compare each value: a = c AND b = d, or use EXISTS.",
    "Any": "Use IN, or EXISTS.",
    "Pivot": "Use sum(CASE WHEN ... THEN ... END) for each column.",
    "Columns": "Name each column.",
    "Values": "Use SELECT ... UNION ALL SELECT ...",
    "TryCast": "Leave other texts out by CASE or WHERE, and use CAST.",
    "Upper": "DuckDB has a capital of ß, and Athena has not: use lower.",
    "StructExtract": "Write the struct's name, a point, and the field's.",
    "recursive": "Athena ends after ten rounds: join the table with itself as often as is needed.",
    "Trunc": "Use floor or ceil.",
    "Right": "Use substr from a place that is counted from 1.",
    "SplitPart": "Use substr.",
    "IgnoreNulls": "Leave the NULLs out by WHERE.",
    "TableSample": "Choose rows by a column: WHERE ...",
}
