-- What the example's reports read: titles that a small press lends out, and who came to see them. Made anew each time.
BEGIN;
DROP TABLE IF EXISTS loan, title;
CREATE TABLE title (
    isbn text PRIMARY KEY,
    name text NOT NULL,
    language text NOT NULL,
    published date NOT NULL
);
CREATE TABLE loan (
    isbn text NOT NULL REFERENCES title,
    day date NOT NULL,
    copies integer NOT NULL CHECK (copies > 0)
);
INSERT INTO title
SELECT format('978-0-%s-%s', lpad((n / 100)::text, 5, '0'), lpad((n % 100)::text, 3, '0')),
       format('%s, volume %s', (ARRAY['Tides & Winds', 'On <Salt>', 'Höhenlinien', 'Les marées', 'Прилив'])[n % 5 + 1], n / 5 + 1),
       (ARRAY['en', 'en', 'de', 'fr', 'ru'])[n % 5 + 1],
       date '2019-01-01' + n * 7
FROM generate_series(0, 299) AS n;
INSERT INTO loan
SELECT isbn, date '2026-01-01' + (row_number() OVER ()::integer + n * 37) % 300, n % 4 + 1
FROM title, generate_series(1, 10) AS n;
COMMIT;
