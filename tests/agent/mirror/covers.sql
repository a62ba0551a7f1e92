-- Some megabytes that do not compress.
INSERT INTO book
SELECT n, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 60) WHERE n > 0)
FROM generate_series(1000, 3000) n
