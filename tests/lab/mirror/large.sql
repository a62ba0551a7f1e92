-- Some hundred megabytes that no compression makes small.
INSERT INTO diary_output (run_id, text)
SELECT md5('mirror' || n)::uuid, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 50000) WHERE n > 0)
FROM generate_series(1, 200) n
