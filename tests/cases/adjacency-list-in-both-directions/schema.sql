CREATE TABLE follow (follower VARCHAR(20), followed VARCHAR(20), since DATE, PRIMARY KEY (follower, followed));
