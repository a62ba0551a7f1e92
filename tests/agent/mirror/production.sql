CREATE TABLE reader (
    id integer PRIMARY KEY,
    email varchar(254) NOT NULL UNIQUE,
    name varchar(200) NOT NULL,
    phone varchar(30) NOT NULL DEFAULT '',
    card varchar(40) UNIQUE,
    note text,
    birthday date,
    password varchar(128) NOT NULL,
    extra jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX reader_name ON reader (lower(name));
CREATE TABLE book (id integer PRIMARY KEY, title text NOT NULL);
CREATE TABLE loan (
    id bigserial PRIMARY KEY,
    reader integer NOT NULL REFERENCES reader,
    reader_email varchar(254) NOT NULL REFERENCES reader (email),
    remark text
);
CREATE VIEW readers AS SELECT id, name, email FROM reader;
INSERT INTO reader
SELECT n, 'reader' || n || '@library.example', 'Reader ' || n, CASE WHEN n % 3 = 0 THEN '' ELSE '+4930' || (100000 + n) END,
       'card ' || n, 'asked for reader' || n || '@library.example, twice', date '1980-01-01' + n, 'argon2$' || md5(n::text),
       jsonb_build_object('says', E'first line\nreader' || n || '@library.example')
FROM generate_series(1, 300) n;
INSERT INTO book SELECT n, 'Book ' || n FROM generate_series(1, 100) n;
INSERT INTO loan (reader, reader_email, remark)
SELECT n, 'reader' || n || '@library.example', NULL FROM generate_series(1, 200) n;
