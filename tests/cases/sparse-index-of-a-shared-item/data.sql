INSERT INTO orders VALUES (1,7,'open'),(2,NULL,'done'),(3,8,'open'),(4,9,'done'),(5,NULL,NULL);
INSERT INTO line VALUES (1,1),(5,1);
