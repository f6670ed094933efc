--: kind keys_one_by_one everywhere
--: tables
CREATE TABLE keys_one_by_one (id int PRIMARY KEY, v varchar(40));
--: rows
INSERT INTO keys_one_by_one VALUES (1, 'a'), (2, NULL), (3, '');
--: change
INSERT INTO keys_one_by_one VALUES (4, 'd'), (5, 'e');
UPDATE keys_one_by_one SET v = 'b' WHERE id = 2;
UPDATE keys_one_by_one SET v = NULL WHERE id = 1;
UPDATE keys_one_by_one SET id = 10 WHERE id = 3;
DELETE FROM keys_one_by_one WHERE id = 4;
INSERT INTO keys_one_by_one VALUES (4, 'again');
UPDATE keys_one_by_one SET id = -id WHERE id = 5;
DELETE FROM keys_one_by_one WHERE id = 999;

--: kind keys_swapped_and_chained
--: tables
CREATE TABLE keys_swapped_and_chained (id int PRIMARY KEY, v varchar(40));
--: rows
INSERT INTO keys_swapped_and_chained VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four');
--: change
BEGIN;
UPDATE keys_swapped_and_chained SET id = 0 WHERE id = 1;
UPDATE keys_swapped_and_chained SET id = 1 WHERE id = 2;
UPDATE keys_swapped_and_chained SET id = 2 WHERE id = 0;
COMMIT;
UPDATE keys_swapped_and_chained SET id = id + 1 ORDER BY id DESC;
UPDATE keys_swapped_and_chained SET id = id - 1 ORDER BY id;
BEGIN;
UPDATE keys_swapped_and_chained SET id = id + 100;
DELETE FROM keys_swapped_and_chained WHERE id = 103;
INSERT INTO keys_swapped_and_chained VALUES (3, 'new three');
UPDATE keys_swapped_and_chained SET id = id - 100 WHERE id > 100;
COMMIT;

--: kind keys_of_several_columns everywhere
--: tables
CREATE TABLE keys_of_several_columns (b int, v varchar(40), a varchar(20), PRIMARY KEY (a, b));
--: rows
INSERT INTO keys_of_several_columns VALUES (1, 'v', 'x'), (2, 'v', 'x'), (1, 'v', 'y');
--: change
UPDATE keys_of_several_columns SET b = 3 WHERE (a, b) = ('x', 1);
UPDATE keys_of_several_columns SET a = 'z' WHERE a = 'y';
UPDATE keys_of_several_columns SET v = 'changed' WHERE b = 2;
DELETE FROM keys_of_several_columns WHERE (a, b) = ('z', 1);
INSERT INTO keys_of_several_columns VALUES (1, 'back', 'y');

--: kind replace_and_upsert
--: tables
CREATE TABLE replace_and_upsert (id int PRIMARY KEY, u int NOT NULL, v varchar(40), UNIQUE (u));
--: rows
INSERT INTO replace_and_upsert VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, 4, 'd');
--: change
REPLACE INTO replace_and_upsert VALUES (1, 1, 'replaced');
REPLACE INTO replace_and_upsert VALUES (2, 3, 'replaces two');
INSERT INTO replace_and_upsert VALUES (4, 40, 'x') ON DUPLICATE KEY UPDATE v = 'upserted', u = 41;
INSERT INTO replace_and_upsert VALUES (5, 5, 'new') ON DUPLICATE KEY UPDATE v = 'not this';
INSERT INTO replace_and_upsert VALUES (4, 41, 'd') ON DUPLICATE KEY UPDATE v = v;
INSERT IGNORE INTO replace_and_upsert VALUES (1, 9, 'ignored'), (6, 6, 'taken');

--: kind unique_values_change_hands everywhere
--: tables
CREATE TABLE unique_values_change_hands (id int PRIMARY KEY, u varchar(20), UNIQUE (u));
--: rows
INSERT INTO unique_values_change_hands VALUES (1, 'a'), (2, 'b'), (3, 'c');
--: change
BEGIN;
UPDATE unique_values_change_hands SET u = NULL WHERE id = 1;
UPDATE unique_values_change_hands SET u = 'a' WHERE id = 2;
UPDATE unique_values_change_hands SET u = 'b' WHERE id = 1;
COMMIT;
DELETE FROM unique_values_change_hands WHERE id = 3;
INSERT INTO unique_values_change_hands VALUES (4, 'c');
BEGIN;
UPDATE unique_values_change_hands SET id = id + 10;
UPDATE unique_values_change_hands SET u = concat(u, '!');
COMMIT;

--: kind many_tables_in_one_statement
--: tables
CREATE TABLE many_tables_a (id int PRIMARY KEY, n int);
CREATE TABLE many_tables_b (id int PRIMARY KEY, n int);
--: rows
INSERT INTO many_tables_a VALUES (1, 1), (2, 2), (3, 3);
INSERT INTO many_tables_b VALUES (1, 10), (2, 20), (3, 30);
--: change
UPDATE many_tables_a a JOIN many_tables_b b USING (id) SET a.n = b.n, b.n = a.n WHERE id < 3;
DELETE a, b FROM many_tables_a a JOIN many_tables_b b USING (id) WHERE a.id = 3;
INSERT INTO many_tables_a SELECT id + 100, n FROM many_tables_b;

--: kind truncated everywhere
--: tables
CREATE TABLE truncated (id int PRIMARY KEY, v varchar(40));
--: rows
INSERT INTO truncated VALUES (1, 'a'), (2, 'b');
--: change
UPDATE truncated SET v = 'before';
TRUNCATE TABLE truncated;
INSERT INTO truncated VALUES (2, 'after');
TRUNCATE truncated;
INSERT INTO truncated VALUES (3, 'after that');

--: kind savepoints_and_rollbacks everywhere
--: tables
CREATE TABLE savepoints (id int PRIMARY KEY, v varchar(40));
--: rows
INSERT INTO savepoints VALUES (1, 'a');
--: change
BEGIN;
INSERT INTO savepoints VALUES (2, 'kept');
SAVEPOINT s;
INSERT INTO savepoints VALUES (3, 'undone');
UPDATE savepoints SET v = 'undone';
ROLLBACK TO SAVEPOINT s;
INSERT INTO savepoints VALUES (4, 'kept');
SAVEPOINT t;
INSERT INTO savepoints VALUES (5, 'kept too');
RELEASE SAVEPOINT t;
COMMIT;
BEGIN;
DELETE FROM savepoints;
ROLLBACK;
BEGIN;
COMMIT;
BEGIN;
INSERT INTO savepoints VALUES (6, 'kept');
UPDATE savepoints SET id = id + 10 WHERE id = 6;
COMMIT;

--: kind xa_transactions
--: tables
CREATE TABLE xa_transactions (id int PRIMARY KEY, v varchar(40));
--: rows
INSERT INTO xa_transactions VALUES (1, 'a');
--: change
XA START 'one', 'branch', 7;
INSERT INTO xa_transactions VALUES (2, 'prepared');
UPDATE xa_transactions SET v = 'prepared' WHERE id = 1;
XA END 'one', 'branch', 7;
XA PREPARE 'one', 'branch', 7;
XA COMMIT 'one', 'branch', 7;
XA START 'two';
INSERT INTO xa_transactions VALUES (3, 'rolled back');
XA END 'two';
XA PREPARE 'two';
XA ROLLBACK 'two';
XA START 'three';
INSERT INTO xa_transactions VALUES (4, 'in one phase');
XA END 'three';
XA COMMIT 'three' ONE PHASE;
--: call xa_commits_in_another_order

--: kind interleaved everywhere
--: tables
CREATE TABLE interleaved (id int PRIMARY KEY, v varchar(40));
--: call mysql_sessions_interleave

--: kind tiny_ones everywhere
--: tables
CREATE TABLE tiny_ones (id int PRIMARY KEY, n int);
--: rows
INSERT INTO tiny_ones VALUES (1, 0);
--: call a_thousand_tiny_ones

--: kind triggers
--: tables
CREATE TABLE trigger_rows (id int PRIMARY KEY, n int);
CREATE TABLE trigger_log (id int PRIMARY KEY, what varchar(40));
--: rows
ALTER TABLE trigger_log MODIFY id int AUTO_INCREMENT;
CREATE TRIGGER stamped BEFORE INSERT ON trigger_rows FOR EACH ROW SET NEW.n = NEW.n * 2;
CREATE TRIGGER logged AFTER UPDATE ON trigger_rows FOR EACH ROW INSERT INTO trigger_log (what) VALUES (concat('update of ', NEW.id));
INSERT INTO trigger_rows VALUES (1, 1), (2, 2);
--: change
INSERT INTO trigger_rows VALUES (3, 3);
UPDATE trigger_rows SET n = n + 1;
DELETE FROM trigger_rows WHERE id = 1;

--: kind generated_columns
--: tables
CREATE TABLE generated_columns (id int PRIMARY KEY, n int, v varchar(40));
--: rows
ALTER TABLE generated_columns ADD COLUMN doubled int AS (n * 2) VIRTUAL FIRST, ADD COLUMN tripled int AS (n * 3) STORED AFTER n;
INSERT INTO generated_columns (id, n, v) VALUES (1, 1, 'a'), (2, 2, 'b');
--: change
INSERT INTO generated_columns (id, n, v) VALUES (3, 3, 'c');
UPDATE generated_columns SET n = 20, v = 'changed' WHERE id = 2;
UPDATE generated_columns SET id = 10 WHERE id = 1;

--: kind auto_increment
--: tables
CREATE TABLE auto_increment_ids (id bigint PRIMARY KEY, v varchar(40));
--: rows
ALTER TABLE auto_increment_ids MODIFY id bigint AUTO_INCREMENT;
INSERT INTO auto_increment_ids (v) VALUES ('a'), ('b');
--: change
INSERT INTO auto_increment_ids (v) VALUES ('c'), ('d');
DELETE FROM auto_increment_ids WHERE id = 1;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
INSERT INTO auto_increment_ids VALUES (0, 'zero');
ALTER TABLE auto_increment_ids AUTO_INCREMENT = 1000;
INSERT INTO auto_increment_ids (v) VALUES ('e');

--: kind row_images
--: tables
CREATE TABLE row_images (id int PRIMARY KEY, n int, v varchar(40), t text);
--: rows
INSERT INTO row_images VALUES (1, 1, 'a', 'long'), (2, 2, 'b', 'longer'), (3, 3, 'c', NULL), (4, 4, 'd', 'longest');
--: change
SET SESSION binlog_row_image = 'MINIMAL';
UPDATE row_images SET n = 10 WHERE id = 1;
UPDATE row_images SET t = NULL WHERE id = 2;
UPDATE row_images SET id = 30 WHERE id = 3;
INSERT INTO row_images VALUES (5, NULL, NULL, NULL);
DELETE FROM row_images WHERE id = 4;
BEGIN;
UPDATE row_images SET v = 'first' WHERE id = 1;
UPDATE row_images SET id = 100 WHERE id = 1;
UPDATE row_images SET n = n + 1 WHERE id = 100;
COMMIT;
SET SESSION binlog_row_image = 'NOBLOB';
UPDATE row_images SET n = 20 WHERE id = 2;
UPDATE row_images SET id = 31 WHERE id = 30;
DELETE FROM row_images WHERE id = 5;

--: kind nothing_changes everywhere
--: tables
CREATE TABLE nothing_changes (id int PRIMARY KEY, v varchar(40));
--: rows
INSERT INTO nothing_changes VALUES (1, 'a'), (2, 'b');
--: change
UPDATE nothing_changes SET v = 'a' WHERE id = 1;
UPDATE nothing_changes SET v = v;
DELETE FROM nothing_changes WHERE id > 2;

--: kind large_rows
--: tables
CREATE TABLE large_rows (id int PRIMARY KEY, t longtext);
--: target
CREATE TABLE large_rows (id int PRIMARY KEY, t text);
--: rows
INSERT INTO large_rows VALUES (1, repeat('0123456789', 100000)), (2, '');
--: change
INSERT INTO large_rows VALUES (3, repeat('x', 3000000)), (4, NULL);
UPDATE large_rows SET t = concat(t, 'y') WHERE id = 3;
UPDATE large_rows SET id = 10 WHERE id = 1;

--: kind many_rows everywhere
--: tables
CREATE TABLE many_rows (id int PRIMARY KEY, n int, v varchar(100));
--: rows
INSERT INTO many_rows WITH RECURSIVE s AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM s WHERE i < 3000) SELECT i, i, concat('row ', i) FROM s;
--: change
UPDATE many_rows SET n = n + 1;
UPDATE many_rows SET v = concat(v, ' changed') WHERE id % 3 = 0;
DELETE FROM many_rows WHERE id % 7 = 0;
UPDATE many_rows SET id = id + 10000 WHERE id % 5 = 0;
INSERT INTO many_rows SELECT id + 100000, n, v FROM many_rows;

--: kind maintenance
--: tables
CREATE TABLE maintenance (id int PRIMARY KEY, v varchar(40));
--: rows
INSERT INTO maintenance VALUES (1, 'a'), (2, 'b');
--: change
ANALYZE TABLE maintenance;
OPTIMIZE TABLE maintenance;
CHECK TABLE maintenance;
UPDATE maintenance SET v = 'after' WHERE id = 1;
ALTER TABLE maintenance ADD INDEX by_v (v);
INSERT INTO maintenance VALUES (3, 'indexed');
ALTER TABLE maintenance DROP INDEX by_v, COMMENT 'a comment; with -- words';
CREATE INDEX by_v ON maintenance (v);
DROP INDEX by_v ON maintenance;
FLUSH TABLES maintenance;
LOCK TABLES maintenance WRITE;
INSERT INTO maintenance VALUES (4, 'locked');
UNLOCK TABLES;
FLUSH LOGS;
INSERT INTO maintenance VALUES (5, 'in a new file');

--: kind other_tables
--: tables
CREATE TABLE other_tables (id int PRIMARY KEY, v varchar(40));
--: rows
CREATE TABLE other_without_a_key (n int);
INSERT INTO other_without_a_key VALUES (1), (1);
--: change
CREATE TABLE other_made (id int PRIMARY KEY) AS SELECT 1 AS id;
INSERT INTO other_tables VALUES (1, 'beside');
UPDATE other_without_a_key SET n = 2;
CREATE TEMPORARY TABLE other_tables_draft (id int, v varchar(40));
INSERT INTO other_tables_draft VALUES (2, 'from a draft');
INSERT INTO other_tables SELECT * FROM other_tables_draft;
DROP TEMPORARY TABLE other_tables_draft;
CREATE VIEW other_view AS SELECT * FROM other_tables;
INSERT INTO other_view VALUES (3, 'through a view');
RENAME TABLE other_made TO other_renamed;
ALTER TABLE other_renamed ADD COLUMN x int, DROP PRIMARY KEY;
DROP VIEW other_view;
DROP TABLE other_renamed;
CREATE PROCEDURE other_procedure() INSERT INTO other_tables VALUES (4, 'by a procedure');
CALL other_procedure();
DROP PROCEDURE other_procedure;
SET @v = 'a variable', @n = 5;
INSERT INTO other_tables VALUES (@n, @v);
INSERT INTO other_tables SELECT 6, uuid();
INSERT INTO other_tables VALUES (7, rand());

--: kind partitioned
--: tables
CREATE TABLE partitioned (id int PRIMARY KEY, v varchar(40));
--: rows
ALTER TABLE partitioned PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (100), PARTITION high VALUES LESS THAN MAXVALUE);
INSERT INTO partitioned VALUES (1, 'a'), (200, 'b');
--: change
INSERT INTO partitioned VALUES (2, 'c'), (201, 'd');
UPDATE partitioned SET id = id + 100 WHERE id < 100;
DELETE FROM partitioned WHERE id = 200;

--: kind names_that_need_quoting
--: tables
CREATE TABLE select_from (id int PRIMARY KEY, v varchar(40));
--: rows
INSERT INTO `select_from` VALUES (1, 'a');
--: change
INSERT INTO `select_from` VALUES (2, 'it''s; a "quoted" \\ `text`'), (3, 'tab\tnewline\nreturn\r');
UPDATE `select_from` SET v = '😀 é ß 漢字' WHERE id = 1;
