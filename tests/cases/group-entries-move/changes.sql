UPDATE parcel SET slot = 3 WHERE truck = 'A' AND slot = 1;
UPDATE parcel SET truck = 'B', slot = 9, weight = 21 WHERE truck = 'A' AND slot = 2;
UPDATE parcel SET truck = 'D' WHERE truck = 'C';
BEGIN;
UPDATE parcel SET slot = 100 WHERE truck = 'B' AND slot = 1;
UPDATE parcel SET slot = 1 WHERE truck = 'B' AND slot = 9;
UPDATE parcel SET slot = 9 WHERE truck = 'B' AND slot = 100;
COMMIT;
