SELECT language, count(*) FROM title GROUP BY language ORDER BY language
