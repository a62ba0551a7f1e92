-- A small table of people and a large one of what they ran, as an organisation's database grows.
CREATE TABLE person (
    id bigint PRIMARY KEY,
    email varchar(254) NOT NULL UNIQUE,
    name varchar(200) NOT NULL,
    phone varchar(30) NOT NULL,
    note text NOT NULL
);
CREATE TABLE run (
    id bigint PRIMARY KEY,
    person bigint NOT NULL REFERENCES person,
    started timestamptz NOT NULL,
    task varchar(100) NOT NULL,
    output text NOT NULL
);
CREATE INDEX run_started ON run (started DESC, id);
CREATE INDEX run_task ON run (task, started DESC);
CREATE INDEX run_person ON run (person);

CREATE PROCEDURE fill(rows bigint) LANGUAGE sql AS $$
INSERT INTO person
SELECT n, 'person' || n || '@library.example', 'Person ' || n, '+4930' || n, 'wrote from person' || n || '@library.example'
FROM generate_series(1, rows / 10) n;
INSERT INTO run
SELECT n, 1 + n % (rows / 10), timestamptz '2024-01-01' + n * interval '1 minute', 'task ' || n % 100,
       repeat(md5(n::text) || ' a line of output of a run' || chr(10), 5)
FROM generate_series(1, rows) n;
$$;
