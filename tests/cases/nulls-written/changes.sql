UPDATE n SET i = 0, d = 0, t = '', b = '', j = '[]', dt = '2026-01-01', e = 'a', s = '', bi = 0, f = 0 WHERE id = 2;
UPDATE n SET i = NULL, d = NULL, t = NULL, b = NULL, j = NULL, dt = NULL, e = NULL, s = NULL, bi = NULL, f = NULL WHERE id = 3;
