-- The same tables in PostgreSQL, with booleans where MariaDB has small integers.
CREATE TYPE frequency AS ENUM ('D', 'W', 'M', 'Y');
CREATE TYPE script_type AS ENUM ('MAIN', 'SNIP');
CREATE TABLE homedir (
  id varchar(36) PRIMARY KEY, name varchar(255) NOT NULL, username varchar(45) NOT NULL UNIQUE, password varchar(255),
  is_editable boolean NOT NULL DEFAULT false, notes text, access_key varchar(32) UNIQUE,
  updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_by varchar(45)
);
CREATE TABLE query (
  id varchar(36) PRIMARY KEY, name varchar(255) NOT NULL UNIQUE, body text, params text, notes text,
  is_library boolean NOT NULL DEFAULT false,
  updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_by varchar(45)
);
CREATE TABLE script (
  id varchar(36) PRIMARY KEY, id_query varchar(36) REFERENCES query ON DELETE SET NULL,
  name varchar(255) NOT NULL UNIQUE, type script_type NOT NULL, body text, params text, notes text,
  updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_by varchar(45)
);
CREATE TABLE task (
  id varchar(36) PRIMARY KEY, id_homedir varchar(36) NOT NULL REFERENCES homedir ON DELETE RESTRICT,
  id_script varchar(36) REFERENCES script ON DELETE SET NULL, file_name varchar(100) NOT NULL,
  extension varchar(32) NOT NULL, description text, start_date date NOT NULL, frequency frequency NOT NULL,
  is_active boolean NOT NULL DEFAULT true, is_public boolean NOT NULL DEFAULT false, notes text,
  updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_by varchar(45), UNIQUE (id_homedir, file_name)
);
CREATE TABLE runlog (
  id serial PRIMARY KEY, id_task varchar(36) NOT NULL REFERENCES task ON DELETE CASCADE,
  date timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, is_success boolean NOT NULL, message text
);
CREATE TABLE setting (key varchar(32) PRIMARY KEY, value text NOT NULL);
CREATE TABLE "user" (
  id varchar(36) PRIMARY KEY, username varchar(45), password varchar(255) NOT NULL DEFAULT '',
  editable smallint NOT NULL DEFAULT 1, fullname varchar(255) NOT NULL, admin smallint NOT NULL DEFAULT 0
);
