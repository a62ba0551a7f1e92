DELETE FROM django_session WHERE session_key IN (SELECT md5('mirror' || n) FROM generate_series(1, 200) n)
