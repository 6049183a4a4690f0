UPDATE c SET a = '😀 😀 ', b = '日本', v = REPEAT('ü', 150) WHERE id = 1;
UPDATE c SET a = 'short', d = '', x = '' WHERE id = 2;
