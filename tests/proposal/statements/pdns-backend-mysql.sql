-- times: 900000
SELECT content, ttl, prio, type, domain_id, disabled, name, auth FROM records WHERE disabled = 0 AND type = 'A' AND name = 'n';
-- times: 400000
SELECT content, ttl, prio, type, domain_id, disabled, name, auth FROM records WHERE disabled = 0 AND name = 'n' AND domain_id = 1;
-- times: 200000
SELECT id, name, master, last_check, notified_serial, type, options, catalog, account FROM domains WHERE name = 'n';
-- times: 60000
SELECT kind, content FROM domains, domainmetadata WHERE domainmetadata.domain_id = domains.id AND name = 'n' AND domainmetadata.kind = 'k';
-- times: 30000
SELECT cryptokeys.id, flags, active, published, content FROM domains, cryptokeys WHERE cryptokeys.domain_id = domains.id AND name = 'n';
-- times: 500
SELECT * FROM records WHERE domain_id = 1 ORDER BY name, type;
-- times: 2000
INSERT INTO records (content, ttl, prio, type, domain_id, disabled, name, ordername, auth) VALUES ('c', 1, 1, 'A', 1, 0, 'n', NULL, 1);
-- times: 1500
DELETE FROM records WHERE domain_id = 1 AND name = 'n' AND type = 'A';
-- times: 3000
UPDATE domains SET notified_serial = 1 WHERE id = 1;
-- times: 100
SELECT * FROM tsigkeys WHERE name = 'n';
-- times: 50
SELECT * FROM supermasters WHERE ip = 'i' AND nameserver = 's';
-- times: 40
SELECT * FROM comments WHERE domain_id = 1;
