INSERT INTO g VALUES (1, ST_GeomFromText('POINT(1 -2)'), ST_GeomFromText('LINESTRING(0 0, 1 1.5)'), ST_GeomFromText('POLYGON((0 0, 1 0, 1 1, 0 0))'), NULL, ST_GeomFromText('POINT(0.1 0.2)', 3857), NULL),
  (2, ST_GeomFromText('POINT(0 0)'), NULL, NULL, NULL, NULL, NULL);
