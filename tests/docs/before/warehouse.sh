sql "CREATE DATABASE sports; CREATE TABLE sports.sporting_event (id BIGINT PRIMARY KEY, start_date DATE); INSERT INTO sports.sporting_event VALUES (1, '2026-11-30')"
sql "CREATE DATABASE tickets; CREATE TABLE tickets.sporting_event_ticket (id BIGINT PRIMARY KEY, sporting_event_id BIGINT, ticket_price DECIMAL(8,2)); INSERT INTO tickets.sporting_event_ticket VALUES (1, 1, 20), (2, 1, 30)"
cat >whimbrel.toml <<END
[warehouse]
engine = "duckdb"
url = "warehouse.duckdb"

[[silo]]
name = "sourcemysql"
url = "${SOURCE%/*}/sports"
password_env = "WHIMBREL_SOURCE_PASSWORD"

[[silo]]
name = "ticketing"
url = "${SOURCE%/*}/tickets"
password_env = "WHIMBREL_SOURCE_PASSWORD"
tables = ["sporting_event_ticket"]
END
