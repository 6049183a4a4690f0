-- times: 20000
SELECT * FROM person WHERE no = 1;
-- times: 9000
SELECT * FROM person p JOIN stay s ON s.person = p.no WHERE p.no = 1;
-- times: 8000
SELECT * FROM title WHERE person = 1 ORDER BY since DESC;
-- times: 8000
SELECT * FROM person p JOIN salary s ON s.person = p.no WHERE p.no = 1;
-- times: 300
SELECT * FROM stay WHERE department = 'd001' ORDER BY since;
-- times: 5000
SELECT * FROM department WHERE code = 'd001';
-- times: 40
SELECT department, COUNT(*) FROM stay GROUP BY department;
-- times: 900
INSERT INTO salary VALUES (1, '2026-01-01', 100);
-- times: 200
INSERT INTO title VALUES (1, 't', '2026-01-01', NULL);
-- times: 100
UPDATE person SET last = 'x' WHERE no = 1;
-- times: 50
DELETE FROM title WHERE person = 1;
