UPDATE j SET j = JSON_SET(j, '$[0]', 'x') WHERE id = 2;
UPDATE j SET j = '"\\u00e9"' WHERE id = 4;
