CREATE TABLE lot (sale INT, number DECIMAL(20,3), PRIMARY KEY (sale, number));
