UPDATE t SET c = ' x ', v = REPEAT('é', 255), b = REPEAT(x'00', 20) WHERE id = 2;
UPDATE t SET lb = REPEAT(x'abcd', 20), lt = CONCAT(REPEAT('x', 100), '!') WHERE id = 1;
