UPDATE member SET status = 'paid', active = 'N', level = 1 WHERE id = 1;
INSERT INTO member VALUES (4, 'gone', 'Y', 0, '2026-02-01');
