UPDATE e SET e = '', s = '0', ss = 'g' WHERE id = 1;
UPDATE e SET e = 'Large', s = 'a,b,c d,0', ss = 'r,g,b', n = '20' WHERE id = 3;
