INSERT INTO t VALUES (1, 'end  ', 'end  ', ' both ', 'a\0b', 'line\r\n', '', x'00', x'ff00', x'', x'0d0a00'), (2, '', NULL, '', NULL, 'ß', '日本語😀', NULL, x'', x'c3', x'20');
