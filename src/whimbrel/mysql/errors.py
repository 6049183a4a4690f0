"""The server's error numbers by name, and what whimbrel takes each of them for.

https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html and .../client-error-reference.html;
https://mariadb.com/kb/en/mariadb-error-code-reference/
"""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """MySQL's names, and MariaDB's for numbers that MySQL does not have."""

    CON_COUNT_ERROR = 1040
    DBACCESS_DENIED_ERROR = 1044
    ACCESS_DENIED_ERROR = 1045
    BAD_TABLE_ERROR = 1051
    SERVER_SHUTDOWN = 1053
    BAD_NULL_ERROR = 1048
    BAD_FIELD_ERROR = 1054
    DUP_ENTRY = 1062
    PARSE_ERROR = 1064
    NORMAL_SHUTDOWN = 1077
    SHUTDOWN_COMPLETE = 1079
    FORCING_CLOSE = 1080
    TABLE_NOT_LOCKED = 1100
    HOST_IS_BLOCKED = 1129
    HOST_NOT_PRIVILEGED = 1130
    TABLEACCESS_DENIED_ERROR = 1142
    COLUMNACCESS_DENIED_ERROR = 1143
    NO_SUCH_TABLE = 1146
    ABORTING_CONNECTION = 1152
    NET_PACKET_TOO_LARGE = 1153
    NET_READ_ERROR = 1158
    NET_READ_INTERRUPTED = 1159
    NET_ERROR_ON_WRITE = 1160
    NET_WRITE_INTERRUPTED = 1161
    NEW_ABORTING_CONNECTION = 1184
    UNKNOWN_SYSTEM_VARIABLE = 1193
    TOO_MANY_USER_CONNECTIONS = 1203
    LOCK_WAIT_TIMEOUT = 1205
    LOCK_DEADLOCK = 1213
    USER_LIMIT_REACHED = 1226
    SPECIFIC_ACCESS_DENIED_ERROR = 1227
    MASTER_FATAL_ERROR_READING_BINLOG = 1236
    WARN_DEPRECATED_SYNTAX = 1287
    QUERY_INTERRUPTED = 1317
    CANT_CREATE_USER_WITH_GRANT = 1410
    TABLE_DEF_CHANGED = 1412
    BINLOG_CREATE_ROUTINE_NEED_SUPER = 1419
    ACCESS_DENIED_NO_PASSWORD_ERROR = 1698
    MUST_CHANGE_PASSWORD = 1820
    MUST_CHANGE_PASSWORD_LOGIN = 1862
    CONNECTION_KILLED = 1927  # MariaDB
    STATEMENT_TIMEOUT = 1969  # MariaDB
    QUERY_TIMEOUT = 3024
    SERVER_OFFLINE_MODE = 3032
    ACCOUNT_HAS_BEEN_LOCKED = 3118
    SECURE_TRANSPORT_REQUIRED = 3159
    SERVER_ISNT_AVAILABLE = 3168
    DB_ACCESS_DENIED = 3879
    CLIENT_INTERACTION_TIMEOUT = 4031
    MARIADB_ACCOUNT_HAS_BEEN_LOCKED = 4151

    CR_CONNECTION_ERROR = 2002
    CR_CONN_HOST_ERROR = 2003
    CR_IPSOCK_ERROR = 2004
    CR_UNKNOWN_HOST = 2005
    CR_SERVER_GONE_ERROR = 2006
    CR_SERVER_HANDSHAKE_ERR = 2012
    CR_SERVER_LOST = 2013
    CR_COMMANDS_OUT_OF_SYNC = 2014
    CR_SSL_CONNECTION_ERROR = 2026
    CR_SERVER_LOST_EXTENDED = 2055


# The account may not do it.
DENIED = frozenset(
    {
        Code.DBACCESS_DENIED_ERROR,
        Code.ACCESS_DENIED_ERROR,
        Code.HOST_NOT_PRIVILEGED,
        Code.TABLEACCESS_DENIED_ERROR,
        Code.COLUMNACCESS_DENIED_ERROR,
        Code.SPECIFIC_ACCESS_DENIED_ERROR,
        Code.CANT_CREATE_USER_WITH_GRANT,
        Code.ACCESS_DENIED_NO_PASSWORD_ERROR,
        Code.MUST_CHANGE_PASSWORD,
        Code.MUST_CHANGE_PASSWORD_LOGIN,
        Code.ACCOUNT_HAS_BEEN_LOCKED,
        Code.SECURE_TRANSPORT_REQUIRED,
        Code.DB_ACCESS_DENIED,
        Code.MARIADB_ACCOUNT_HAS_BEEN_LOCKED,
    }
)
# The server ended the statement, as its limit of time told it to, or as somebody did.
OUT_OF_TIME = frozenset({Code.QUERY_INTERRUPTED, Code.STATEMENT_TIMEOUT, Code.QUERY_TIMEOUT})
# The server ended the session, or the statement: nothing is wrong with what was asked.
ENDED = OUT_OF_TIME | {
    Code.SERVER_SHUTDOWN,
    Code.NORMAL_SHUTDOWN,
    Code.SHUTDOWN_COMPLETE,
    Code.FORCING_CLOSE,
    Code.ABORTING_CONNECTION,
    Code.NET_READ_ERROR,
    Code.NET_READ_INTERRUPTED,
    Code.NET_ERROR_ON_WRITE,
    Code.NET_WRITE_INTERRUPTED,
    Code.NEW_ABORTING_CONNECTION,
    Code.CONNECTION_KILLED,
    Code.SERVER_ISNT_AVAILABLE,
    Code.CLIENT_INTERACTION_TIMEOUT,
}
# The server has no room for us now.
BUSY = frozenset(
    {
        Code.CON_COUNT_ERROR,
        Code.HOST_IS_BLOCKED,
        Code.TOO_MANY_USER_CONNECTIONS,
        Code.LOCK_WAIT_TIMEOUT,
        Code.LOCK_DEADLOCK,
        Code.USER_LIMIT_REACHED,
        Code.SERVER_OFFLINE_MODE,
    }
)
# Of the client libraries: the connection could not be made, or broke.
BROKEN = frozenset(code for code in Code if code.name.startswith("CR_"))
UNREACHABLE = ENDED | BUSY | BROKEN
# The table is not what it was when the statement was written.
DRIFTED = frozenset({Code.BAD_TABLE_ERROR, Code.BAD_FIELD_ERROR, Code.NO_SUCH_TABLE, Code.TABLE_DEF_CHANGED})
# Of one row: the table cannot hold it. The numbers have no other meaning, so nothing else is taken for that.
REFUSED_ROW = frozenset(
    {
        Code.BAD_NULL_ERROR,
        Code.DUP_ENTRY,
        1263,  # NULL for a column that is NOT NULL
        1264,  # out of range
        1265,  # data truncated
        1292,  # a wrong value of its type
        1364,  # no default
        1366,  # a wrong value, or no such character
        1367,
        1406,  # too long
        1411,
        1416,  # not a geometry
        1441,
        1525,
        1644,  # refused by a trigger of the user's
        1690,
        3140,  # not JSON
        3141,
        3144,
        3819,  # a CHECK constraint
        4025,  # the same in MariaDB
    }
)
# A dump ends with these when the connection does; one with a packet that is too large is begun again, too.
DUMP_ENDED = ENDED | {Code.NET_PACKET_TOO_LARGE}


def code_of(error: Exception) -> int:
    """The number that a client library's error has; 0 if it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0
