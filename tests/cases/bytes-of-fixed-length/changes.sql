UPDATE b SET f = x'0000', v = x'' WHERE id = 3;
UPDATE b SET f = x'20', m = CONCAT(REPEAT(x'00', 199), x'02') WHERE id = 2;
