CREATE TABLE asset (serial VARCHAR(12) NOT NULL, owner VARCHAR(10), room INT NOT NULL, seq INT NOT NULL, UNIQUE (room, seq), UNIQUE (serial), UNIQUE (owner));
