--: kind keys_one_by_one
--: tables
CREATE TABLE t (id int PRIMARY KEY, v text);
--: rows
INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 50) i;
--: change
UPDATE t SET id = 1000 WHERE id = 1;
--: change
UPDATE t SET id = 1001, v = 'both' WHERE id = 2;
--: change
UPDATE t SET id = id WHERE id = 3;
--: change
UPDATE t SET id = -id WHERE id BETWEEN 4 AND 10;

--: kind keys_swapped_and_chained
--: tables
CREATE TABLE wide (LIKE public.wide INCLUDING ALL);
--: rows
INSERT INTO wide SELECT i, i, long() || i, long() || -i, convert_to(long() || 'c' || i, 'UTF8') FROM generate_series(1, 40) i;
--: change
BEGIN;
UPDATE wide SET id = 0 WHERE id = 1;
UPDATE wide SET id = 1 WHERE id = 2;
UPDATE wide SET id = 2 WHERE id = 0;
COMMIT;
--: change
BEGIN;
UPDATE wide SET id = 100 WHERE id = 3;
UPDATE wide SET id = 101, n = 7 WHERE id = 100;
UPDATE wide SET id = 102, a = 'short' WHERE id = 101;
COMMIT;
--: change
BEGIN;
UPDATE wide SET id = 200 WHERE id = 4;
UPDATE wide SET id = 4 WHERE id = 5;
UPDATE wide SET id = 5 WHERE id = 200;
COMMIT;
--: change
BEGIN;
DELETE FROM wide WHERE id = 6;
INSERT INTO wide VALUES (6, 0, 'new', NULL, NULL);
UPDATE wide SET id = 300 WHERE id = 6;
UPDATE wide SET id = 6 WHERE id = 7;
INSERT INTO wide VALUES (7, 1, 'seven', 'b', 'c');
COMMIT;
--: change
BEGIN;
INSERT INTO wide VALUES (400, 1, long(), long(), NULL);
DELETE FROM wide WHERE id = 8;
UPDATE wide SET id = 8 WHERE id = 400;
UPDATE wide SET n = 99 WHERE id = 8;
COMMIT;
--: change
BEGIN;
UPDATE wide SET id = 500 WHERE id = 9;
DELETE FROM wide WHERE id = 500;
COMMIT;
--: change
BEGIN;
UPDATE wide SET id = -1 WHERE id = 11;
UPDATE wide SET id = 11 WHERE id = 12;
UPDATE wide SET id = 12 WHERE id = 13;
UPDATE wide SET id = 13 WHERE id = -1;
COMMIT;
--: change
UPDATE wide SET id = id + 1000 WHERE id > 20;

--: kind keys_of_several_columns
--: tables
CREATE TABLE t (a text, b int, c date, v text, PRIMARY KEY (c, a, b));
CREATE TABLE only_key (a int, b text, PRIMARY KEY (a, b));
--: rows
INSERT INTO t SELECT 'a', i, date '2024-02-28', 'v' FROM generate_series(1, 20) i;
INSERT INTO only_key SELECT i, 'k' FROM generate_series(1, 5) i;
--: change
UPDATE t SET b = b + 100 WHERE b <= 3;
--: change
UPDATE t SET a = 'other' WHERE b = 5;
--: change
BEGIN;
UPDATE t SET c = c + 1, v = NULL WHERE b = 7;
UPDATE t SET c = c - 1 WHERE b = 7;
COMMIT;
--: change
DELETE FROM t WHERE b = 8;
--: change
UPDATE only_key SET b = 'moved' WHERE a = 1;
--: change
BEGIN;
DELETE FROM only_key WHERE a = 2;
INSERT INTO only_key VALUES (2, 'x'), (2, 'y');
COMMIT;

--: kind key_stored_out_of_line
--: tables
CREATE TABLE t (id text PRIMARY KEY, v text, w text);
ALTER TABLE t ALTER id SET STORAGE EXTERNAL, ALTER v SET STORAGE EXTERNAL, ALTER w SET STORAGE EXTERNAL;
--: rows
INSERT INTO t SELECT i || repeat('k', 2400), long(), i FROM generate_series(1, 9) i;
--: change
UPDATE t SET w = 'changed' WHERE id LIKE '1%';
--: change
UPDATE t SET id = '9' || id WHERE id LIKE '2%';
--: change
DELETE FROM t WHERE id LIKE '3%';
--: change
BEGIN;
UPDATE t SET v = NULL WHERE id LIKE '4%';
UPDATE t SET id = 'short' WHERE id LIKE '4%';
COMMIT;

--: kind identity_full
--: tables
CREATE TABLE wide (LIKE public.wide INCLUDING ALL);
--: rows
ALTER TABLE wide REPLICA IDENTITY FULL;
INSERT INTO wide SELECT i, i, long() || i, long() || -i, convert_to(long() || 'c' || i, 'UTF8') FROM generate_series(1, 40) i;
--: change
UPDATE wide SET n = -n WHERE id <= 5;
--: change
UPDATE wide SET a = NULL, b = 'short' WHERE id = 6;
--: change
UPDATE wide SET id = id + 500 WHERE id BETWEEN 7 AND 9;
--: change
BEGIN;
UPDATE wide SET id = 0 WHERE id = 10;
UPDATE wide SET id = 10 WHERE id = 11;
UPDATE wide SET id = 11 WHERE id = 0;
COMMIT;
--: change
DELETE FROM wide WHERE id BETWEEN 12 AND 15;
--: change
UPDATE wide SET n = n;

--: kind identity_index
--: tables
CREATE TABLE t (id int PRIMARY KEY, tenant int NOT NULL, code text NOT NULL, v text);
CREATE UNIQUE INDEX by_code ON t (tenant, code);
--: target
CREATE TABLE t (id int, tenant int, code text, v text, PRIMARY KEY (code, tenant));
--: rows
ALTER TABLE t REPLICA IDENTITY USING INDEX by_code;
INSERT INTO t SELECT i, i % 3, 'c' || i, 'v' FROM generate_series(1, 20) i;
--: change
UPDATE t SET v = 'changed' WHERE id <= 3;
--: change
UPDATE t SET id = id + 100 WHERE id = 4;
--: change
UPDATE t SET code = 'other', id = 105 WHERE id = 5;
--: change
DELETE FROM t WHERE id = 6;

--: kind identity_changes
--: tables
CREATE TABLE wide (LIKE public.wide INCLUDING ALL);
CREATE UNIQUE INDEX covering ON wide (id) INCLUDE (n);
--: rows
INSERT INTO wide SELECT i, i, long() || i, long() || -i, convert_to(long() || 'c' || i, 'UTF8') FROM generate_series(1, 40) i;
--: change
UPDATE wide SET n = 1 WHERE id = 1;
DELETE FROM wide WHERE id = 2;
--: change
ALTER TABLE wide REPLICA IDENTITY FULL;
--: change
UPDATE wide SET n = 3, id = 1003 WHERE id = 3;
DELETE FROM wide WHERE id = 4;
UPDATE wide SET n = 5 WHERE id = 5;
--: change
ALTER TABLE wide REPLICA IDENTITY USING INDEX covering;
--: change
UPDATE wide SET n = 6, id = 1006 WHERE id = 6;
DELETE FROM wide WHERE id = 7;
UPDATE wide SET n = 8 WHERE id = 8;
--: change
ALTER TABLE wide REPLICA IDENTITY NOTHING;
--: change
INSERT INTO wide VALUES (2000, 1, long(), NULL, NULL);
--: change
ALTER TABLE wide REPLICA IDENTITY DEFAULT;
--: change
UPDATE wide SET n = 9, id = 1009 WHERE id = 9;
DELETE FROM wide WHERE id = 10;
UPDATE wide SET n = 11 WHERE id = 11;
--: change
BEGIN;
UPDATE wide SET n = 20 WHERE id = 20;
ALTER TABLE wide REPLICA IDENTITY FULL;
UPDATE wide SET id = 1021 WHERE id = 21;
DELETE FROM wide WHERE id = 22;
ALTER TABLE wide REPLICA IDENTITY NOTHING;
INSERT INTO wide VALUES (2001, 1, 'in between');
ALTER TABLE wide REPLICA IDENTITY USING INDEX covering;
UPDATE wide SET id = 1023 WHERE id = 23;
DELETE FROM wide WHERE id = 24;
ALTER TABLE wide REPLICA IDENTITY DEFAULT;
UPDATE wide SET id = 1025 WHERE id = 25;
COMMIT;

--: kind unchanged_toast
--: tables
CREATE TABLE wide (LIKE public.wide INCLUDING ALL);
--: rows
INSERT INTO wide SELECT i, i, long() || i, long() || -i, convert_to(long() || 'c' || i, 'UTF8') FROM generate_series(1, 40) i;
--: change
UPDATE wide SET n = -1 WHERE id = 1;
--: change
UPDATE wide SET a = long() || 'new' WHERE id = 2;
--: change
BEGIN;
UPDATE wide SET a = long() || 'x' WHERE id = 3;
UPDATE wide SET b = long() || 'y' WHERE id = 3;
UPDATE wide SET n = 0 WHERE id = 3;
COMMIT;
--: change
BEGIN;
UPDATE wide SET a = NULL WHERE id = 4;
UPDATE wide SET n = 4 WHERE id = 4;
COMMIT;
--: change
BEGIN;
INSERT INTO wide VALUES (100, 0, long(), long(), NULL);
UPDATE wide SET n = 1 WHERE id = 100;
COMMIT;
--: change
BEGIN;
UPDATE wide SET n = 5 WHERE id = 5;
DELETE FROM wide WHERE id = 5;
INSERT INTO wide (id, n) VALUES (5, 55);
UPDATE wide SET n = 56 WHERE id = 5;
COMMIT;
--: change
UPDATE wide SET id = 1006 WHERE id = 6;
--: change
BEGIN;
UPDATE wide SET id = 1007 WHERE id = 7;
UPDATE wide SET c = NULL WHERE id = 1007;
INSERT INTO wide VALUES (7, 7, long());
COMMIT;
--: change
UPDATE wide SET b = a WHERE id = 8;
--: change
UPDATE wide SET n = n + 1;
--: change
BEGIN;
SAVEPOINT s;
UPDATE wide SET a = long() || 'undone' WHERE id = 9;
ROLLBACK TO s;
UPDATE wide SET n = 99 WHERE id = 9;
COMMIT;

--: kind truncate
--: tables
CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent, v text);
CREATE TABLE a (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text);
CREATE TABLE b (id serial PRIMARY KEY, v text);
CREATE TABLE kept (id int PRIMARY KEY, v text);
CREATE TABLE twice (id int PRIMARY KEY, v text);
--: rows
INSERT INTO parent SELECT i, 'p' FROM generate_series(1, 20) i;
INSERT INTO child SELECT i, i, 'c' FROM generate_series(1, 20) i;
INSERT INTO a (v) SELECT 'a' FROM generate_series(1, 20) i;
INSERT INTO b (v) SELECT 'b' FROM generate_series(1, 20) i;
INSERT INTO kept SELECT i, 'k' FROM generate_series(1, 20) i;
INSERT INTO twice SELECT i, 't' FROM generate_series(1, 20) i;
--: change
BEGIN;
TRUNCATE parent CASCADE;
INSERT INTO parent VALUES (1, 'new'), (500, 'new');
INSERT INTO child VALUES (7, 500, 'new');
COMMIT;
--: change
BEGIN;
TRUNCATE a, b RESTART IDENTITY;
INSERT INTO a (v) VALUES ('one'), ('two');
INSERT INTO b (v) SELECT 'n' FROM generate_series(1, 5);
COMMIT;
--: change
BEGIN;
SAVEPOINT s;
TRUNCATE kept;
INSERT INTO kept VALUES (1, 'undone');
ROLLBACK TO s;
UPDATE kept SET v = 'still there' WHERE id = 2;
COMMIT;
--: change
BEGIN;
TRUNCATE kept;
ROLLBACK;
--: change
BEGIN;
INSERT INTO twice VALUES (100, 'a');
TRUNCATE twice;
INSERT INTO twice VALUES (101, 'b'), (1, 'c');
UPDATE twice SET id = 102 WHERE id = 101;
TRUNCATE twice;
INSERT INTO twice VALUES (1, 'last'), (103, 'last');
DELETE FROM twice WHERE id = 1;
COMMIT;
--: change
TRUNCATE child;
--: change
INSERT INTO child VALUES (8, 1, 'after');

--: kind subtransactions
--: tables
CREATE TABLE t (id int PRIMARY KEY, v text);
--: change
BEGIN;
INSERT INTO t VALUES (1, 'a');
SAVEPOINT x;
INSERT INTO t VALUES (2, 'b');
SAVEPOINT y;
INSERT INTO t VALUES (3, 'c');
ROLLBACK TO y;
INSERT INTO t VALUES (4, 'd');
RELEASE x;
INSERT INTO t VALUES (5, 'e');
COMMIT;
--: change
BEGIN;
INSERT INTO t VALUES (10, 'a');
SAVEPOINT x;
UPDATE t SET v = 'undone';
DELETE FROM t WHERE id = 1;
ROLLBACK TO x;
SAVEPOINT x;
DELETE FROM t WHERE id = 2;
RELEASE x;
COMMIT;
--: change
BEGIN;
INSERT INTO t VALUES (20, 'never');
SAVEPOINT x;
INSERT INTO t VALUES (21, 'never');
RELEASE x;
ROLLBACK;
--: change
DO $$ BEGIN FOR i IN 1..300 LOOP BEGIN INSERT INTO t VALUES (1000 + i, 'n'); IF i % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;EXCEPTION WHEN raise_exception THEN UPDATE t SET v = v || '!' WHERE id = 1000 + i - 1; END; END LOOP; END $$;
--: change
DO $$ BEGIN FOR i IN 1..20 LOOP INSERT INTO t VALUES (2000 + i, 'n'); IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF; END LOOP; END $$;

--: kind prepared_transactions
--: tables
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE wide (LIKE public.wide INCLUDING ALL);
--: rows
INSERT INTO wide SELECT i, i, long() || i, long() || -i, convert_to(long() || 'c' || i, 'UTF8') FROM generate_series(1, 40) i;
--: change
BEGIN;
INSERT INTO t VALUES (1, 'a');
UPDATE wide SET n = 0 WHERE id = 1;
PREPARE TRANSACTION 'prepared_one';
--: change
BEGIN;
INSERT INTO t VALUES (2, 'never');
DELETE FROM wide WHERE id = 2;
PREPARE TRANSACTION 'prepared_two';
--: change
INSERT INTO t VALUES (3, 'before one');
UPDATE wide SET id = 1003 WHERE id = 3;
--: change
COMMIT PREPARED 'prepared_one';
--: change
ROLLBACK PREPARED 'prepared_two';
--: change
BEGIN;
SAVEPOINT s;
UPDATE t SET v = 'undone';
ROLLBACK TO s;
TRUNCATE t;
INSERT INTO t VALUES (4, 'b');
PREPARE TRANSACTION 'prepared_three';
--: change
COMMIT PREPARED 'prepared_three';

--: kind interleaved
--: tables
CREATE TABLE t (id int PRIMARY KEY, v text);
--: call sessions_interleave

--: kind locks
--: tables
CREATE TABLE held (id int PRIMARY KEY, v text);
--: rows
INSERT INTO held SELECT i, 'v' FROM generate_series(1, 10) i;
--: change
BEGIN;
SELECT * FROM held FOR UPDATE;
UPDATE held SET v = 'after lock' WHERE id = 5;
COMMIT;
--: change
BEGIN;
SELECT * FROM held WHERE id = 6 FOR SHARE;
SELECT * FROM held WHERE id = 6 FOR UPDATE;
DELETE FROM held WHERE id = 6;
COMMIT;
--: call two_sessions_lock_a_row

--: kind thousands_of_tiny_ones
--: tables
CREATE TABLE t (id int PRIMARY KEY, n int);
--: change
INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) i;
--: change
SET synchronous_commit = off;
--: change
DO $$ BEGIN FOR i IN 1..3000 LOOP UPDATE t SET n = n + 1 WHERE id = 1 + i % 100; COMMIT; END LOOP; END $$;

--: kind statements
--: tables
CREATE TABLE t (id int PRIMARY KEY, v text, n int DEFAULT 7);
CREATE TABLE archive (id int PRIMARY KEY, v text);
--: rows
INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 50) i;
--: change
INSERT INTO t (id, v) VALUES (1, 'again'), (100, 'new') ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v || t.v;
--: change
INSERT INTO t (id, v) VALUES (2, 'ignored'), (101, 'new') ON CONFLICT DO NOTHING;
--: change
UPDATE t SET v = 'returned', n = n * 2 WHERE id < 5 RETURNING id, v;
--: change
WITH gone AS (DELETE FROM t WHERE id BETWEEN 10 AND 15 RETURNING id, v) INSERT INTO archive SELECT id, v FROM gone;
--: change
WITH one AS (UPDATE t SET n = 0 WHERE id = 20 RETURNING id), two AS (INSERT INTO archive SELECT id, 'two' FROM one RETURNING id) DELETE FROM t WHERE id = 21;
--: change
UPDATE t SET v = archive.v FROM archive WHERE archive.id = t.id + 5;
--: change
DELETE FROM t USING archive WHERE t.id = archive.id + 10;
--: change
INSERT INTO t (id) VALUES (102);
--: call copy_from

--: kind merge_statement since 15
--: tables
CREATE TABLE t (id int PRIMARY KEY, v text);
--: rows
INSERT INTO t SELECT i, 'v' FROM generate_series(1, 10) i;
--: change
MERGE INTO t USING (SELECT i, 'merged' AS v FROM generate_series(5, 15) i) s ON t.id = s.i WHEN MATCHED AND s.i % 2 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.i, s.v);

--: kind triggers_and_constraints
--: tables
CREATE TABLE t (id int PRIMARY KEY, v text, stamped int);
CREATE TABLE audit (id int PRIMARY KEY, what text);
CREATE TABLE p (id int PRIMARY KEY);
CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE down (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE);
--: rows
INSERT INTO p VALUES (1), (2), (3);
INSERT INTO down VALUES (1, 1), (2, 2), (3, 3);
--: change
CREATE SEQUENCE audits;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = triggers_and_constraints AS $$BEGIN INSERT INTO audit VALUES (nextval('audits'), TG_OP || ' ' || session_user); NEW.stamped := coalesce(OLD.stamped, 0) + 1; RETURN NEW; END $$;
CREATE TRIGGER note BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note();
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql SET search_path = triggers_and_constraints AS $$BEGIN INSERT INTO audit VALUES (nextval('audits'), 'late'); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON c DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
--: change
INSERT INTO t VALUES (1, 'a', 40), (2, 'b', NULL);
UPDATE t SET v = 'c' WHERE id = 1;
UPDATE t SET id = 3 WHERE id = 2;
--: change
BEGIN;
INSERT INTO c VALUES (1, 900), (2, 900);
INSERT INTO p VALUES (900);
UPDATE c SET p = NULL WHERE id = 2;
COMMIT;
--: change
DELETE FROM p WHERE id = 1;
UPDATE p SET id = 902 WHERE id = 2;
--: change
SET session_replication_role = replica;
INSERT INTO t VALUES (9, 'as a replica', 0);

--: kind generated_and_identity_columns
--: tables
CREATE TABLE g (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED, c text DEFAULT 'd', f int);
--: target
CREATE TABLE g (f int, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, c text, a int, b int, more text DEFAULT 'of the target');
--: rows
INSERT INTO g (a, c) SELECT i, 'c' || i FROM generate_series(1, 10) i;
--: change
INSERT INTO g (a) VALUES (10), (20);
UPDATE g SET a = 11 WHERE a = 10;
UPDATE g SET a = NULL WHERE a = 1;
--: change
INSERT INTO g (id, a, c) OVERRIDING SYSTEM VALUE VALUES (500, 5, DEFAULT), (501, 6, NULL);
DELETE FROM g WHERE a = 2;
--: change
UPDATE g SET id = DEFAULT WHERE a = 3;

--: kind virtual_columns since 18
--: tables
CREATE TABLE g (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2), c int GENERATED ALWAYS AS (a * 3) STORED);
--: target
CREATE TABLE g (id int PRIMARY KEY, a int, b int);
--: rows
INSERT INTO g SELECT i, i FROM generate_series(1, 10) i;
--: change
INSERT INTO g VALUES (100, 10);
UPDATE g SET a = 11 WHERE id = 1;
UPDATE g SET id = 200 WHERE id = 2;
DELETE FROM g WHERE id = 3;

--: kind deferrable_keys
--: tables
CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, code int NOT NULL, v text);
CREATE UNIQUE INDEX by_code ON t (code);
--: target
CREATE TABLE t (id int, code int PRIMARY KEY, v text);
--: rows
ALTER TABLE t REPLICA IDENTITY USING INDEX by_code;
INSERT INTO t SELECT i, 100 + i, 'v' FROM generate_series(1, 10) i;
--: change
UPDATE t SET id = 11 - id;
--: change
UPDATE t SET v = 'changed' WHERE id = 3;
--: change
DELETE FROM t WHERE id = 4;

--: kind row_security
--: tables
CREATE TABLE t (id int PRIMARY KEY, owner text);
--: rows
INSERT INTO t SELECT i, 'somebody' FROM generate_series(1, 10) i;
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
ALTER TABLE t FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON t USING (owner = current_user);
--: change
INSERT INTO t VALUES (100, 'somebody'), (101, 'nobody');
UPDATE t SET owner = 'changed' WHERE id = 1;
DELETE FROM t WHERE id = 2;

--: kind partitioned since 13
--: tables
CREATE TABLE t (id int, region text, v text, big text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE eu PARTITION OF t FOR VALUES IN ('eu');
CREATE TABLE us PARTITION OF t FOR VALUES IN ('us');
CREATE TABLE rest PARTITION OF t DEFAULT;
--: target
CREATE TABLE t (id int, region text, v text, big text, PRIMARY KEY (id, region));
--: rows
INSERT INTO t SELECT i, (ARRAY['eu', 'us', 'xx'])[1 + i % 3], 'v', long() FROM generate_series(1, 60) i;
--: change
INSERT INTO t VALUES (100, 'eu', 'new'), (101, 'us', 'new'), (102, 'as', 'new');
--: change
UPDATE t SET v = 'changed' WHERE id % 4 = 0;
--: change
UPDATE t SET region = 'us' WHERE id BETWEEN 10 AND 12;
--: change
UPDATE t SET region = 'moved', id = id + 500 WHERE id = 13;
--: change
BEGIN;
UPDATE t SET region = 'us' WHERE id = 14;
UPDATE t SET v = 'there and', region = 'eu' WHERE id = 14;
COMMIT;
--: change
UPDATE t SET id = id + 1000 WHERE id BETWEEN 20 AND 22;
--: change
INSERT INTO eu VALUES (103, 'eu', 'directly');
UPDATE us SET v = 'directly' WHERE id % 5 = 0;
DELETE FROM rest WHERE id % 6 = 0;
--: change
ALTER TABLE us REPLICA IDENTITY FULL;
UPDATE t SET big = NULL, v = 'full' WHERE region = 'us';
ALTER TABLE us REPLICA IDENTITY DEFAULT;

--: kind partitions_of_another_shape since 13
--: tables
CREATE TABLE t (id int, day date, v text, w int DEFAULT 3, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
--: target
CREATE TABLE t (w int, id int, v text, day date, PRIMARY KEY (day, id));
--: rows
CREATE TABLE y2024 (gone int, v text, day date NOT NULL, also text, id int NOT NULL, w int);
ALTER TABLE y2024 DROP gone, DROP also;
ALTER TABLE t ATTACH PARTITION y2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE y2025 PARTITION OF t FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY HASH (id);
CREATE TABLE y2025_0 PARTITION OF y2025 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE y2025_1 (w int, id int NOT NULL, day date NOT NULL, v text);
ALTER TABLE y2025 ATTACH PARTITION y2025_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO t SELECT i, date '2024-06-01' + i * 20, 'v' FROM generate_series(1, 20) i;
--: change
INSERT INTO t VALUES (100, '2024-01-05', 'a'), (101, '2025-01-05', 'b');
--: change
UPDATE t SET v = 'changed', w = 9 WHERE id % 2 = 0;
--: change
UPDATE t SET day = day + 366 WHERE id = 3;
--: change
DELETE FROM t WHERE id = 4;
--: change
UPDATE t SET id = id + 200 WHERE id IN (5, 6);
--: change
CREATE TABLE y2026 PARTITION OF t FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO t VALUES (300, '2026-02-02', 'new');
--: change
CREATE TABLE y2027 (w int, v text, id int NOT NULL, day date NOT NULL);
ALTER TABLE t ATTACH PARTITION y2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
INSERT INTO y2027 VALUES (1, 'direct', 301, '2027-03-03');
UPDATE t SET day = day + 1 WHERE id = 301;

--: kind partitioned_truncate since 13
--: tables
CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY HASH (id);
CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1);
--: rows
INSERT INTO t SELECT i, 'v' FROM generate_series(1, 20) i;
--: change
BEGIN;
TRUNCATE t;
INSERT INTO t SELECT i, 'after' FROM generate_series(15, 25) i;
COMMIT;
--: change
UPDATE t SET v = 'last' WHERE id = 15;

--: kind inherited
--: tables
CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE heir (extra int, PRIMARY KEY (id)) INHERITS (parent);
--: rows
INSERT INTO parent SELECT i, 'p' FROM generate_series(1, 10) i;
INSERT INTO heir SELECT i, 'h', i FROM generate_series(11, 20) i;
--: change
INSERT INTO parent VALUES (100, 'p');
INSERT INTO heir VALUES (100, 'h', 1), (101, 'h', 2);
--: change
UPDATE parent SET v = 'both' WHERE id IN (5, 15);
--: change
DELETE FROM parent WHERE id IN (6, 16);
--: change
UPDATE ONLY parent SET id = 200 WHERE id = 7;
--: change
BEGIN;
TRUNCATE ONLY heir;
INSERT INTO heir VALUES (1, 'new', 3);
COMMIT;
--: change
BEGIN;
TRUNCATE parent;
INSERT INTO parent VALUES (1, 'new');
COMMIT;
--: change
INSERT INTO heir VALUES (2, 'last', 4);

--: kind maintenance
--: tables
CREATE TABLE wide (LIKE public.wide INCLUDING ALL);
CREATE TABLE t (id int PRIMARY KEY, v text, unmapped int);
--: target
CREATE TABLE wide (LIKE public.wide INCLUDING ALL);
CREATE TABLE t (id int PRIMARY KEY, v text);
--: rows
INSERT INTO wide SELECT i, i, long() || i, long() || -i, convert_to(long() || 'c' || i, 'UTF8') FROM generate_series(1, 40) i;
INSERT INTO t SELECT i, 'v' FROM generate_series(1, 10) i;
--: change
UPDATE wide SET n = 0 WHERE id = 1;
--: change
VACUUM FULL wide;
--: change
CLUSTER wide USING wide_pkey;
--: change
UPDATE wide SET n = 2 WHERE id = 2;
--: change
REINDEX TABLE wide;
--: change
ALTER TABLE t ALTER unmapped TYPE bigint;
--: change
UPDATE t SET v = 'after rewrite', id = 101 WHERE id = 1;
--: change
VACUUM (FREEZE, ANALYZE) t;
--: change
ALTER TABLE t SET (fillfactor = 50);
CREATE INDEX ON t (v);
COMMENT ON TABLE t IS 'x';
--: change
DELETE FROM t WHERE id = 2;
--: change
SELECT pg_logical_emit_message(true, 'headwater', 'in a transaction'), pg_logical_emit_message(false, 'x', 'outside');
--: change
BEGIN;
SELECT pg_logical_emit_message(true, 'x', repeat('y', 100000));
INSERT INTO t VALUES (300, 'with a message');
COMMIT;
--: change
SELECT lo_from_bytea(0, 'large object');
--: change
CREATE SEQUENCE s;
SELECT nextval('s'), setval('s', 100);
--: change
CREATE TEMP TABLE passing (id int PRIMARY KEY);
INSERT INTO passing VALUES (1);
UPDATE passing SET id = 2;
INSERT INTO t VALUES (301, 'beside temp');
--: change
CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY);
INSERT INTO fleeting VALUES (1);
INSERT INTO t VALUES (302, 'beside unlogged');
--: change
CREATE TABLE elsewhere (a int);
INSERT INTO elsewhere VALUES (1);
UPDATE elsewhere SET a = 2;
DELETE FROM elsewhere;
TRUNCATE elsewhere;

--: kind rows_without_columns_to_change
--: tables
CREATE TABLE one (id int PRIMARY KEY);
CREATE TABLE many (id int PRIMARY KEY, c1 int, c2 int, c3 int, c4 int, c5 int, c6 int, c7 int, c8 int, c9 int, c10 int, c11 int, c12 int, c13 int, c14 int, c15 int, c16 int, c17 int, c18 int, c19 int, c20 int, c21 int, c22 int, c23 int, c24 int, c25 int, c26 int, c27 int, c28 int, c29 int, c30 int, c31 int, c32 int, c33 int, c34 int, c35 int, c36 int, c37 int, c38 int, c39 int, c40 int, c41 int, c42 int, c43 int, c44 int, c45 int, c46 int, c47 int, c48 int, c49 int, c50 int, c51 int, c52 int, c53 int, c54 int, c55 int, c56 int, c57 int, c58 int, c59 int, c60 int, c61 int, c62 int, c63 int, c64 int, c65 int, c66 int, c67 int, c68 int, c69 int, c70 int, c71 int, c72 int, c73 int, c74 int, c75 int, c76 int, c77 int, c78 int, c79 int, c80 int, c81 int, c82 int, c83 int, c84 int, c85 int, c86 int, c87 int, c88 int, c89 int, c90 int, c91 int, c92 int, c93 int, c94 int, c95 int, c96 int, c97 int, c98 int, c99 int, c100 int, c101 int, c102 int, c103 int, c104 int, c105 int, c106 int, c107 int, c108 int, c109 int, c110 int, c111 int, c112 int, c113 int, c114 int, c115 int, c116 int, c117 int, c118 int, c119 int, c120 int, c121 int, c122 int, c123 int, c124 int, c125 int, c126 int, c127 int, c128 int, c129 int, c130 int, c131 int, c132 int, c133 int, c134 int, c135 int, c136 int, c137 int, c138 int, c139 int, c140 int, c141 int, c142 int, c143 int, c144 int, c145 int, c146 int, c147 int, c148 int, c149 int, c150 int, c151 int, c152 int, c153 int, c154 int, c155 int, c156 int, c157 int, c158 int, c159 int, c160 int, c161 int, c162 int, c163 int, c164 int, c165 int, c166 int, c167 int, c168 int, c169 int, c170 int, c171 int, c172 int, c173 int, c174 int, c175 int, c176 int, c177 int, c178 int, c179 int, c180 int, c181 int, c182 int, c183 int, c184 int, c185 int, c186 int, c187 int, c188 int, c189 int, c190 int, c191 int, c192 int, c193 int, c194 int, c195 int, c196 int, c197 int, c198 int, c199 int, c200 int, c201 int, c202 int, c203 int, c204 int, c205 int, c206 int, c207 int, c208 int, c209 int, c210 int, c211 int, c212 int, c213 int, c214 int, c215 int, c216 int, c217 int, c218 int, c219 int, c220 int, c221 int, c222 int, c223 int, c224 int, c225 int, c226 int, c227 int, c228 int, c229 int, c230 int, c231 int, c232 int, c233 int, c234 int, c235 int, c236 int, c237 int, c238 int, c239 int, c240 int, c241 int, c242 int, c243 int, c244 int, c245 int, c246 int, c247 int, c248 int, c249 int, c250 int, c251 int, c252 int, c253 int, c254 int, c255 int, c256 int, c257 int, c258 int, c259 int, c260 int, c261 int, c262 int, c263 int, c264 int, c265 int, c266 int, c267 int, c268 int, c269 int, c270 int, c271 int, c272 int, c273 int, c274 int, c275 int, c276 int, c277 int, c278 int, c279 int, c280 int, c281 int, c282 int, c283 int, c284 int, c285 int, c286 int, c287 int, c288 int, c289 int, c290 int, c291 int, c292 int, c293 int, c294 int, c295 int, c296 int, c297 int, c298 int, c299 int, c300 int, c301 int, c302 int, c303 int, c304 int, c305 int, c306 int, c307 int, c308 int, c309 int, c310 int, c311 int, c312 int, c313 int, c314 int, c315 int, c316 int, c317 int, c318 int, c319 int, c320 int, c321 int, c322 int, c323 int, c324 int, c325 int, c326 int, c327 int, c328 int, c329 int, c330 int, c331 int, c332 int, c333 int, c334 int, c335 int, c336 int, c337 int, c338 int, c339 int, c340 int, c341 int, c342 int, c343 int, c344 int, c345 int, c346 int, c347 int, c348 int, c349 int, c350 int, c351 int, c352 int, c353 int, c354 int, c355 int, c356 int, c357 int, c358 int, c359 int, c360 int, c361 int, c362 int, c363 int, c364 int, c365 int, c366 int, c367 int, c368 int, c369 int, c370 int, c371 int, c372 int, c373 int, c374 int, c375 int, c376 int, c377 int, c378 int, c379 int, c380 int, c381 int, c382 int, c383 int, c384 int, c385 int, c386 int, c387 int, c388 int, c389 int, c390 int, c391 int, c392 int, c393 int, c394 int, c395 int, c396 int, c397 int, c398 int, c399 int);
--: rows
INSERT INTO one VALUES (1), (2), (3);
INSERT INTO many (id, c1) VALUES (1, 1), (2, 2), (3, 3);
--: change
INSERT INTO one VALUES (100);
UPDATE one SET id = 200 WHERE id = 1;
UPDATE one SET id = id;
DELETE FROM one WHERE id = 2;
--: change
INSERT INTO many (id, c1, c399) VALUES (100, 1, 2);
UPDATE many SET c200 = 7;
UPDATE many SET id = id + 50 WHERE id < 3;
