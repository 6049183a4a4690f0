UPDATE j SET j = JSON_SET(j, '$[0]', 'é"\\') WHERE id = 2;
UPDATE j SET j = JSON_OBJECT('k', JSON_OBJECT('n', 65535, 'm', 65536, 'o', -32769)) WHERE id = 4;
