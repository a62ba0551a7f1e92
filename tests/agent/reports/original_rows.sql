INSERT INTO homedir (id, name, username, password, notes, access_key) VALUES
  ('c1', 'Some Press', 'press', '$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy', NULL, '0123456789abcdef0123456789abcdef'),
  ('c2', 'Länder', 'a_b', 'plain', 'ünï', NULL);
INSERT INTO query (id, name, body, is_library) VALUES ('q1', 'press:titles_xml', 'SELECT ''ü''', false), ('q2', 'countries', NULL, true);
INSERT INTO script (id, id_query, name, type, body) VALUES
  ('s1', 'q1', 'press:titles_xml', 'MAIN', 'from sniplets import connect, gone'),
  ('s2', NULL, 'connect', 'SNIP', 'open(1)'), ('s3', NULL, 'a_b:a_b.xml', 'MAIN', 'I am a syntax error');
INSERT INTO task (id, id_homedir, id_script, file_name, extension, start_date, frequency, is_active, is_public) VALUES
  ('t1', 'c1', 's1', 'titles.xml', 'xml', '2024-01-31', 'M', true, true),
  ('t2', 'c2', 's3', 'a.b.xml', 'xml', '2024-01-31', 'D', false, false), ('t3', 'c2', NULL, 'c.csv', 'csv', '2024-01-31', 'D', true, false);
INSERT INTO runlog (id_task, date, is_success, message) VALUES
  ('t1', '2024-01-31 02:00:01', true, 'OK'), ('t1', '2024-03-31 02:00:02', false, 'exit value 1: ü'), ('t1', '2024-02-28 02:00:00', true, 'OK'),
  ('t2', '2024-01-31 02:00:03', true, NULL);
INSERT INTO setting (key, value) VALUES ('clients.contact.email', 'post@example.org');
INSERT INTO "user" (id, username, fullname) VALUES ('u1', 'administrator', 'A');
