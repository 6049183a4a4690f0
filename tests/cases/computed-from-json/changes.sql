UPDATE product SET data = JSON_SET(data, '$.name', 'Pen', '$.size.w', 2) WHERE id = 1;
UPDATE product SET data = '{"name": null, "tags": [], "size": 7}' WHERE id = 2;
