INSERT INTO diary_person (email, name, password, role, is_active, created)
SELECT 'reader' || n || '@library.example', 'Reader ' || n, '!', 'viewer', true, now() FROM generate_series(1, 200) n
ON CONFLICT DO NOTHING;
INSERT INTO diary_host (name, environment) VALUES ('mirror-test', 'production') ON CONFLICT DO NOTHING;
INSERT INTO diary_run (id, host_id, environment, task, pack, trigger, started, status, reason, output_bytes, output_dropped,
                       counts, boot_id, invocation_id, release, unit_hash, attempt, received, review,
                       asked_by, parameters, dry_run, unexpected)
SELECT md5('mirror' || n)::uuid, h.id, 'production', 'spoken', '', 'manual', now(), 'succeeded', '', 0, 0,
       '{}', '', '', '', '', 1, now(), '', 'reader' || n || '@library.example', '{}', false, '[]'
FROM generate_series(1, 200) n, diary_host h WHERE h.name = 'mirror-test'
ON CONFLICT DO NOTHING;
INSERT INTO diary_review (run_id, person_id, at, state, summary)
SELECT md5('mirror' || n)::uuid, p.id, now(), 'done', 'said by ' || p.email
FROM generate_series(1, 200) n JOIN diary_person p ON p.email = 'reader' || n || '@library.example';
