-- Everything that a dump can hold and that is easily lost. Roles are made by the test, once per cluster.
CREATE EXTENSION citext;
CREATE SCHEMA "Mixed Case";
CREATE SCHEMA ext;
CREATE EXTENSION hstore SCHEMA ext;
COMMENT ON SCHEMA "Mixed Case" IS 'It''s a schema; with "quotes" and a semicolon';

CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'glücklich', '"quoted"');
CREATE TYPE address AS (street text, "house number" int, geo point);
CREATE DOMAIN "größe_日本" AS numeric(10, 3) CHECK (VALUE >= 0);
CREATE DOMAIN address_list AS address[];
CREATE TYPE floatrange2 AS RANGE (subtype = float8, subtype_diff = float8mi);

-- partitions
CREATE TABLE by_range (id int, at date NOT NULL, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE by_range_2025 PARTITION OF by_range FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE by_range_2026 PARTITION OF by_range FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (id);
CREATE TABLE by_range_2026_odd PARTITION OF by_range_2026 FOR VALUES IN (1, 3, 5, 7, 9);
CREATE TABLE by_range_2026_rest PARTITION OF by_range_2026 DEFAULT;
INSERT INTO by_range SELECT n % 10, date '2025-06-01' + n, 'row ' || n FROM generate_series(0, 500) n;
CREATE TABLE by_hash (id int PRIMARY KEY, mood mood) PARTITION BY HASH (id);
CREATE TABLE by_hash_0 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_hash_1 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_hash SELECT n, (enum_range(NULL::mood))[n % 4 + 1] FROM generate_series(1, 200) n;

-- inheritance
CREATE TABLE parent (id int, name text);
CREATE TABLE child (age int) INHERITS (parent);
INSERT INTO parent VALUES (1, 'a'), (2, 'b'), (2, 'b');
INSERT INTO child VALUES (3, 'c', 30), (3, 'c', 30);

-- columns
CREATE TABLE "größe.x" (id int);
CREATE TABLE kinds (
  id bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 5) PRIMARY KEY,
  doubled numeric GENERATED ALWAYS AS (amount * 2) STORED,
  amount "größe_日本", f4 real, f8 double precision, n numeric, raw bytea, words text[], matrix int[][],
  span int4range, spans int4multirange, odd floatrange2, ts timestamptz, "interval" interval, j json, jb jsonb,
  u uuid, ip inet, bits bit varying, mail citext, kv ext.hstore, home address, homes address_list,
  vec tsvector, cash money, one "char", fixed char(5), rel regclass, lsn pg_lsn, t time with time zone, "%" text
);
INSERT INTO kinds (amount, f4, f8, n, raw, words, matrix, span, spans, odd, ts, "interval", j, jb, u, ip, bits, mail,
  kv, home, homes, vec, cash, one, fixed, rel, lsn, t, "%") VALUES
  (1.5, 'NaN', '-0', 'NaN', '\x00ff0a5c', ARRAY['a', NULL, 'null', '', 'it''s "x"\', E'line\nbreak'],
   '{{1,2},{3,4}}', '[1,5)', '{[1,3),[7,9)}', '(0.5,1.5]', '2026-03-29 02:30+02', '1 mon -2 days 03:04:05.000006',
   '{"b": 1,  "a": 2, "a": 3}', '{"b": 1, "a": [null, 1e400]}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
   '::1/64', B'10110', 'Ä@Example.org', 'a=>1, "b c"=>NULL', ROW('Straße', 5, '(1.1,-2)'),
   ARRAY[ROW(E'tab\there', NULL, NULL)::address], 'fat:2 cat:3A', 12345.67, 'x', 'ab', 'parent', '16/B374D848',
   '12:00+09', '100%'),
  (0, '-Infinity', 1.0000000000000002, 'Infinity', '', '{}', '[0:1][2:2]={{1},{2}}', 'empty', '{}', 'empty',
   '-infinity', '0', 'null', '"\\u0041 text \n"', NULL, '10.0.0.0/8', '', '', '', NULL, NULL, '', '-0.01', '',
   '', '"größe.x"', '0/0', '24:00', E'\\N'),
  (999, 1.17549435e-38, 5e-324, 1e-20, decode(repeat('00', 3000), 'hex'), NULL, NULL, NULL, NULL, NULL, '294276-01-01',
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, E'\\.\n');

-- names
CREATE TABLE "Mixed Case"."a table" ("a column" int, "a table" text, "select" text, "q""uote" int);
INSERT INTO "Mixed Case"."a table" SELECT n, 'v' || n, 'order', n FROM generate_series(1, 20) n;
CREATE TABLE "dots.in.name" ("dots.in.name" int);
INSERT INTO "dots.in.name" VALUES (1), (NULL), (1);
CREATE TABLE "back\slash" ("back\slash" text);
INSERT INTO "back\slash" VALUES (E'\\'), ('\n');
CREATE TABLE "new
line" (id int, "col
umn" text);
INSERT INTO "new
line" VALUES (1, 'x');
CREATE TABLE "100% sure; -- or 'not' $$" ("%s %(name)s {0}" text);
INSERT INTO "100% sure; -- or 'not' $$" VALUES ('%s');
CREATE TABLE same (same text, t int);
INSERT INTO same VALUES ('same', 1), ('other', 2);
CREATE TABLE "TABLE" (id int);
CREATE TABLE nothing ();
INSERT INTO nothing SELECT FROM generate_series(1, 7);
CREATE TABLE empty_one (id serial PRIMARY KEY);
CREATE UNLOGGED TABLE forgetful (id int, note text);
INSERT INTO forgetful VALUES (1, 'unlogged');
CREATE TABLE dropped_column (a int, b int, c text);
INSERT INTO dropped_column VALUES (1, 2, 'three');
ALTER TABLE dropped_column DROP COLUMN b;

-- foreign keys in a cycle
CREATE TABLE hen (id int PRIMARY KEY, egg int);
CREATE TABLE egg (id int PRIMARY KEY, hen int REFERENCES hen DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE hen ADD CONSTRAINT from_egg FOREIGN KEY (egg) REFERENCES egg DEFERRABLE INITIALLY DEFERRED;
COMMENT ON CONSTRAINT from_egg ON hen IS 'a cycle';
BEGIN;
INSERT INTO hen VALUES (1, 1), (2, 2);
INSERT INTO egg VALUES (1, 2), (2, 1);
COMMIT;

-- views, functions, triggers
CREATE VIEW moods AS SELECT mood, count(*) FROM by_hash GROUP BY mood;
CREATE MATERIALIZED VIEW totals AS SELECT at, count(*) AS n FROM by_range GROUP BY at WITH DATA;
CREATE UNIQUE INDEX ON totals (at);
CREATE MATERIALIZED VIEW never_filled AS SELECT 1 / count(*) AS x FROM empty_one WITH NO DATA;
CREATE FUNCTION add(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE RETURN a + b;
CREATE FUNCTION old_style(a int) RETURNS int LANGUAGE sql AS $f$ SELECT a; $f$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN NEW.note := NEW.note || '!'; RETURN NEW; END $body$;
CREATE TRIGGER touch BEFORE INSERT ON forgetful FOR EACH ROW EXECUTE FUNCTION touch();
CREATE PROCEDURE twice(INOUT a int) LANGUAGE plpgsql AS $$ BEGIN a := a * 2; END $$;
CREATE AGGREGATE longest(text) (SFUNC = textcat, STYPE = text);
CREATE FUNCTION no_drop() RETURNS event_trigger LANGUAGE plpgsql AS
  $$ BEGIN IF current_setting('torture.on', true) = 'yes' THEN RAISE EXCEPTION 'no'; END IF; END $$;
CREATE EVENT TRIGGER no_drop ON ddl_command_start EXECUTE FUNCTION no_drop();
CREATE RULE ignore AS ON DELETE TO same DO INSTEAD NOTHING;
CREATE INDEX ON same (lower(same)) WHERE t > 0;
CREATE STATISTICS linked (dependencies) ON id, at FROM by_range;

-- sequences
CREATE SEQUENCE backwards INCREMENT -3 MINVALUE -1000 MAXVALUE 10 START 10 CYCLE;
SELECT nextval('backwards'), nextval('backwards');
CREATE SEQUENCE unused;
SELECT setval('empty_one_id_seq', 4711, false);

-- rights
GRANT USAGE ON SCHEMA "Mixed Case" TO "torture Reader";
GRANT SELECT (id, amount) ON kinds TO "torture Reader" WITH GRANT OPTION;
GRANT SELECT ON "Mixed Case"."a table" TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE torture_owner IN SCHEMA "Mixed Case" GRANT INSERT ON TABLES TO "torture Reader";
ALTER TABLE parent OWNER TO torture_owner;
ALTER SCHEMA "Mixed Case" OWNER TO torture_owner;
REVOKE EXECUTE ON FUNCTION add(int, int) FROM PUBLIC;
ALTER TABLE egg ENABLE ROW LEVEL SECURITY;
ALTER TABLE egg FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON egg USING (id = 1);
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE PUBLICATION parts FOR TABLE by_range, same WHERE (t > 0);
COMMENT ON COLUMN kinds.doubled IS E'computed;\nnot stored by hand';

-- large objects: small, empty, sparse, and larger than the 16 MiB that are read at once
SELECT lo_from_bytea(50001, '\x010203');
SELECT lo_create(50002);
SELECT lo_from_bytea(50003, convert_to(repeat('0123456789abcdef', 1100000), 'UTF8'));
SELECT lo_create(50004);
SELECT lo_put(50004, 20000000, 'sparse');
GRANT SELECT ON LARGE OBJECT 50001 TO "torture Reader";
COMMENT ON LARGE OBJECT 50002 IS 'nothing in it';
