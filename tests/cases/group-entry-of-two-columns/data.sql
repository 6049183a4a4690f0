INSERT INTO price VALUES ('x', 'no', 2024, 100), ('x', 'no', 2025, 110), ('x', 'se', 2025, 90), ('y', 'no', 2025, 5);
