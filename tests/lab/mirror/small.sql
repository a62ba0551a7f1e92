DELETE FROM diary_output WHERE run_id IN (SELECT md5('mirror' || n)::uuid FROM generate_series(1, 200) n)
