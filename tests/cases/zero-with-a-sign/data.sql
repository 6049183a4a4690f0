INSERT INTO level VALUES (-0e0, 1.5, 'sea'), (2.5, -0e0, 'hill'), (3, 1, 'top'), (-4, 0, 'pit');
