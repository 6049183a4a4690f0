UPDATE wide SET c0 = 7, c119 = NULL, c118 = 255 WHERE id = 1;
UPDATE wide SET c3 = b'1', c117 = 'end' WHERE id = 2;
