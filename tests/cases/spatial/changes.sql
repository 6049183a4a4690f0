UPDATE g SET p = ST_GeomFromText('POINT(10 20)'), any = ST_GeomFromText('LINESTRING(0 0, 2 2)') WHERE id = 2;
