-- times: 900000
INSERT INTO File (FileIndex, JobId, PathId, FilenameId, LStat, MD5, DeltaSeq) VALUES (1, 2, 3, 4, 'x', 'y', 0);
-- times: 300
SELECT PathId, FilenameId, LStat FROM File WHERE JobId = 7 ORDER BY FileIndex;
-- times: 200
SELECT * FROM File JOIN Path ON Path.PathId = File.PathId WHERE File.JobId = 7;
-- times: 500
DELETE FROM File WHERE JobId = 7;
-- times: 5000
SELECT * FROM Job WHERE JobId = 7;
-- times: 3000
UPDATE Job SET JobStatus = 'T', EndTime = NOW() WHERE JobId = 7;
-- times: 1000
INSERT INTO Job (JobId, Job, Name, Type, Level, JobStatus) VALUES (1, 'j', 'n', 'B', 'F', 'C');
-- times: 2000
SELECT JobId, StartTime, JobStatus FROM Job WHERE ClientId = 3 ORDER BY StartTime DESC LIMIT 20;
-- times: 20000
INSERT INTO Log (JobId, Time, LogText) VALUES (7, NOW(), 'x');
-- times: 3000
SELECT Time, LogText FROM Log WHERE JobId = 7 ORDER BY LogId;
-- times: 900
SELECT * FROM Media WHERE PoolId = 2 AND VolStatus = 'Append';
-- times: 800
SELECT * FROM JobMedia jm JOIN Media m ON m.MediaId = jm.MediaId WHERE jm.JobId = 7;
-- times: 2000
INSERT INTO JobMedia (JobId, MediaId) VALUES (7, 8);
-- times: 900000
SELECT FilenameId FROM Filename WHERE Name = 'n';
-- times: 700000
SELECT PathId FROM Path WHERE Path = 'p';
-- times: 40
SELECT ClientId, COUNT(*) FROM Job GROUP BY ClientId;
