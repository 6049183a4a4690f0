UPDATE code SET code = 'a  ' WHERE n = 1;
UPDATE code SET fixed = 'y   ', n = 20 WHERE n = 2;
