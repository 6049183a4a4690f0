"""Who keeps a table from being locked, in words, as far as the account may see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from whimbrel.errors import SourceUnreachable, WhimbrelError
from whimbrel.mysql.connect import Mysql, connect, rows_as_dicts
from whimbrel.mysql.locked import busy
from whimbrel.project import Source

Name = tuple[str, str]  # schema and table

# By the metadata locks themselves: MySQL with SELECT on performance_schema, MariaDB with its plugin metadata_lock_info.
_MYSQL_LOCKS = """
SELECT t.PROCESSLIST_ID AS id, MAX(t.PROCESSLIST_USER) AS user, MAX(t.PROCESSLIST_HOST) AS host,
       MAX(t.PROCESSLIST_TIME) AS seconds
FROM performance_schema.metadata_locks l JOIN performance_schema.threads t ON t.THREAD_ID = l.OWNER_THREAD_ID
WHERE l.OBJECT_TYPE = 'TABLE' AND l.LOCK_STATUS = 'GRANTED' AND (l.OBJECT_SCHEMA, l.OBJECT_NAME) IN ({places})
      AND t.PROCESSLIST_ID <> CONNECTION_ID()
GROUP BY t.PROCESSLIST_ID ORDER BY seconds DESC
"""
_MARIADB_LOCKS = """
SELECT p.ID AS id, MAX(p.USER) AS user, MAX(p.HOST) AS host, MAX(p.TIME) AS seconds
FROM information_schema.METADATA_LOCK_INFO l JOIN information_schema.PROCESSLIST p ON p.ID = l.THREAD_ID
WHERE (l.TABLE_SCHEMA, l.TABLE_NAME) IN ({places}) AND p.ID <> CONNECTION_ID()
GROUP BY p.ID ORDER BY seconds DESC
"""
# By what is open at all, which may be of other tables: with PROCESS.
_TRANSACTIONS = """
SELECT t.trx_mysql_thread_id AS id, p.USER AS user, p.HOST AS host,
       TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) AS seconds
FROM information_schema.INNODB_TRX t LEFT JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id
WHERE t.trx_mysql_thread_id NOT IN (0, CONNECTION_ID()) ORDER BY t.trx_started
"""


def holders(source: Source, tables: Sequence[Name]) -> str:
    """One sentence. Never raises for what the account may not see."""
    places = ", ".join(["(%s, %s)"] * len(tables))
    names = tuple(part for table in tables for part in table)
    with closing(connect(source)) as connection:
        for text in (_MYSQL_LOCKS, _MARIADB_LOCKS) if tables else ():
            if found := _seen(connection, text.format(places=places), names):
                return _said(found, lambda who: f"Held by {who}")
        if found := _seen(connection, _TRANSACTIONS, ()):
            return _said(found, lambda who: f"The oldest open transaction is that of {who}")
    return busy(source)


def _seen(connection: Mysql, statement: str, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
    """None where the server has no such table, or the account may not look."""
    try:
        return rows_as_dicts(connection, statement, parameters)
    except SourceUnreachable:
        raise
    except WhimbrelError:
        return []


def _said(found: list[dict[str, Any]], words: Callable[[str], str]) -> str:
    first = found[0]
    account = f" of {first['user']}@{str(first['host']).partition(':')[0]}" if first["user"] else ""
    more = f", and {len(found) - 1:,} more" if len(found) > 1 else ""
    who = words(f"session {first['id']}{account}")
    return f"{who} ({int(first['seconds'] or 0):,} s){more}."
