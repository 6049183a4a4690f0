INSERT INTO follow VALUES ('ann', 'bob', '2026-01-01'), ('bob', 'ann', '2026-01-02'), ('eve', 'bob', NULL);
