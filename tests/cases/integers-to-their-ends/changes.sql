UPDATE i SET tu = 128, su = 32768, mu = 8388608, iu = 2147483648, bu = 9223372036854775808, z = 999999 WHERE id = 2;
UPDATE i SET t = -1, s = -1, m = -1, i = -1, b = -1 WHERE id = 1;
