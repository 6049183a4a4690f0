INSERT INTO user VALUES (1, 'Ann', NULL), (2, 'Bob', 'b@x'), (3, 'Cy', 'c@x');
INSERT INTO profile VALUES (1, 'one', x'00'), (2, NULL, NULL);
