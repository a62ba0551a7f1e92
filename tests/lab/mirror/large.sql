-- Few megabytes in the table, some hundred on their way.
INSERT INTO django_session (session_key, session_data, expire_date)
SELECT md5('mirror' || n), repeat(md5(n::text), 60000), now()
FROM generate_series(1, 200) n
