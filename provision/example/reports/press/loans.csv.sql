SELECT isbn, name, sum(copies) AS copies, max(day) AS last_day
FROM loan JOIN title USING (isbn)
GROUP BY isbn, name
ORDER BY copies DESC, isbn
