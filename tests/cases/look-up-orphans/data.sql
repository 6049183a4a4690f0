INSERT INTO country VALUES ('de', 'Germany'), ('fr', 'France');
INSERT INTO address VALUES (1, 'de', 'A'), (2, 'xx', 'B'), (3, 'fr', 'C'), (4, NULL, 'D');
INSERT INTO visit VALUES (1, 'de'), (2, 'yy'), (3, 'fr');
