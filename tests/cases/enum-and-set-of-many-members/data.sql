INSERT INTO many VALUES (1, 'm0', 's0'), (2, 'm255', 's63'), (3, 'm256', 's0,s31,s32,s62'), (4, 'm299', '');
