-- Few megabytes in the table, some hundred on their way.
INSERT INTO diary_output (run_id, text)
SELECT md5('mirror' || n)::uuid, repeat(md5(n::text), 60000)
FROM generate_series(1, 200) n
