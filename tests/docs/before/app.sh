cat >app.sql <<'END'
-- times: 600
SELECT * FROM purchase WHERE customer = 7 AND orderid = 1;
-- times: 300
SELECT * FROM purchase WHERE customer = 7 ORDER BY orderid DESC LIMIT 5;
SELECT orderid FROM purchase WHERE quantity > 3;
END
