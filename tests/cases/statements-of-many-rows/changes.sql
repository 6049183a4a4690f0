UPDATE item JOIN kind USING (kind) SET price = price * factor;
UPDATE kind SET factor = factor + 1;
DELETE item FROM item JOIN kind USING (kind) WHERE kind.kind = 'even' AND id > 10;
INSERT INTO item SELECT id + 100, kind, NULL FROM item WHERE id < 3;
