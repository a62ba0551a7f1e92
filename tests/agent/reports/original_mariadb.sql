-- The tables of the original system, written from their description.
CREATE TABLE homedir (
  id varchar(36) NOT NULL PRIMARY KEY, name varchar(255) NOT NULL, username varchar(45) NOT NULL UNIQUE,
  password varchar(255), is_editable tinyint(1) NOT NULL DEFAULT 0, notes text, access_key varchar(32) UNIQUE,
  updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, updated_by varchar(45)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `query` (
  id varchar(36) NOT NULL PRIMARY KEY, name varchar(255) NOT NULL UNIQUE, body text, params text, notes text,
  is_library tinyint NOT NULL DEFAULT 0,
  updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, updated_by varchar(45)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE script (
  id varchar(36) NOT NULL PRIMARY KEY, id_query varchar(36), name varchar(255) NOT NULL UNIQUE,
  type enum('MAIN','SNIP') NOT NULL, body text, params text, notes text,
  updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, updated_by varchar(45),
  FOREIGN KEY (id_query) REFERENCES `query` (id) ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE task (
  id varchar(36) NOT NULL PRIMARY KEY, id_homedir varchar(36) NOT NULL, id_script varchar(36),
  file_name varchar(100) NOT NULL, extension varchar(32) NOT NULL, description text, start_date date NOT NULL,
  frequency enum('D','W','M','Y') NOT NULL, is_active tinyint(1) NOT NULL DEFAULT 1,
  is_public tinyint NOT NULL DEFAULT 0, notes text,
  updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, updated_by varchar(45),
  UNIQUE (id_homedir, file_name),
  FOREIGN KEY (id_script) REFERENCES script (id) ON DELETE SET NULL ON UPDATE RESTRICT,
  FOREIGN KEY (id_homedir) REFERENCES homedir (id) ON DELETE RESTRICT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE runlog (
  id int NOT NULL AUTO_INCREMENT PRIMARY KEY, id_task varchar(36) NOT NULL,
  date datetime NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, is_success tinyint(1) NOT NULL,
  message text, KEY (id_task), FOREIGN KEY (id_task) REFERENCES task (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE setting (
  `key` varchar(32) NOT NULL PRIMARY KEY, value text NOT NULL,
  updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, updated_by varchar(45)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `user` (
  id varchar(36) NOT NULL PRIMARY KEY, username varchar(45), password varchar(255) NOT NULL DEFAULT '',
  editable tinyint NOT NULL DEFAULT 1, fullname varchar(255) NOT NULL, admin tinyint NOT NULL DEFAULT 0,
  updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, updated_by varchar(45)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
