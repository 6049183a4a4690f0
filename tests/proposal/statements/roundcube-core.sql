-- times: 90000
SELECT vars, ip, changed FROM session WHERE sess_id = 'x';
-- times: 60000
UPDATE session SET vars = 'v', changed = NOW() WHERE sess_id = 'x';
-- times: 3000
INSERT INTO session (sess_id, vars, ip, changed) VALUES ('x', 'v', '1', NOW());
-- times: 3000
DELETE FROM session WHERE sess_id = 'x';
-- times: 10
DELETE FROM session WHERE changed < '2026-01-01';
-- times: 4000
SELECT * FROM users WHERE mail_host = 'h' AND username = 'u';
-- times: 40000
SELECT * FROM users WHERE user_id = 1;
-- times: 4000
UPDATE users SET last_login = NOW() WHERE user_id = 1;
-- times: 30000
SELECT * FROM identities WHERE del <> 1 AND user_id = 1 ORDER BY standard DESC, name ASC, identity_id ASC;
-- times: 20000
SELECT * FROM contacts WHERE del <> 1 AND user_id = 1 ORDER BY name LIMIT 50;
-- times: 800
INSERT INTO contacts (user_id, changed, del, name, email) VALUES (1, NOW(), 0, 'n', 'e');
-- times: 800
UPDATE contacts SET name = 'n', changed = NOW() WHERE contact_id = 3 AND user_id = 1;
-- times: 5000
SELECT * FROM contactgroups WHERE del <> 1 AND user_id = 1 ORDER BY name;
-- times: 3000
SELECT * FROM contacts AS c, contactgroupmembers AS m WHERE c.del <> 1 AND c.user_id = 1 AND m.contactgroup_id = 4 AND m.contact_id = c.contact_id;
-- times: 50000
SELECT data FROM cache WHERE user_id = 1 AND cache_key = 'k';
-- times: 20000
INSERT INTO cache (user_id, cache_key, data) VALUES (1, 'k', 'd');
-- times: 60000
SELECT uid, data, flags FROM cache_messages WHERE user_id = 1 AND mailbox = 'INBOX' AND uid IN (1, 2, 3);
-- times: 9000
DELETE FROM cache_messages WHERE user_id = 1 AND mailbox = 'INBOX';
-- times: 15000
SELECT * FROM responses WHERE user_id = 1 AND del = 0 ORDER BY name;
-- times: 20
SELECT COUNT(*) FROM contacts WHERE user_id = 1 AND del = 0;
