-- Every column that rows are copied for: ordinary and partitioned tables, without the partitions themselves.
-- Tables that an extension made hold its own rows and come with it, unless pg_dump was told to copy them.
SELECT n.nspname,
       c.relname,
       a.attname,
       CASE WHEN t.typname = 'citext' THEN 'citext' ELSE pg_catalog.format_type(t.oid, NULL) END,
       NOT (a.attnotnull OR t.typnotnull),
       EXISTS (SELECT FROM pg_catalog.pg_index i
               WHERE i.indrelid = c.oid AND i.indisunique AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum),
       CASE WHEN t.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 END,
       a.attgenerated <> '' OR a.attidentity = 'a',
       c.relkind = 'p',
       coalesce((SELECT CASE WHEN fn.nspname = 'public' THEN '' ELSE fn.nspname || '.' END
                        || fc.relname || '.' || fa.attname
                 FROM pg_catalog.pg_constraint f
                 CROSS JOIN LATERAL unnest(f.conkey, f.confkey) AS pair(here, there)
                 JOIN pg_catalog.pg_class fc ON fc.oid = f.confrelid
                 JOIN pg_catalog.pg_namespace fn ON fn.oid = fc.relnamespace
                 JOIN pg_catalog.pg_attribute fa ON fa.attrelid = f.confrelid AND fa.attnum = pair.there
                 WHERE f.contype = 'f' AND f.conrelid = c.oid AND pair.here = a.attnum AND f.conparentid = 0
                 ORDER BY f.oid LIMIT 1), '')
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
                    AND NOT c.oid = ANY (coalesce(e.extconfig, '{}')))
ORDER BY 1, 2, a.attnum
