UPDATE j SET j = JSON_SET(j, '$.a[0]', 100, '$.new', JSON_ARRAY('p', JSON_OBJECT('q', 0))) WHERE id = 1;
UPDATE j SET j = JSON_OBJECT('big', 12345678901234567890, 'small', -1, 'long', REPEAT('ab', 150)) WHERE id = 2;
UPDATE j SET j = JSON_REMOVE('{"x": 1, "y": {"z": [1, [2, [3]]]}}', '$.x') WHERE id = 5;
