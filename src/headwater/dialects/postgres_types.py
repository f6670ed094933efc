"""By which type a PostgreSQL column's values behave: what a domain, or an array of one, is made of.

The name of an own type says nothing about its values, and the same name may mean something else on another server. So own
types are spelled by what they are, for `domain/types.py`.
"""

from __future__ import annotations

BASE = """
LEFT JOIN LATERAL (
    WITH RECURSIVE peeled (oid, modifier, arrays) AS (
        SELECT a.atttypid, a.atttypmod, ''
        UNION ALL
        SELECT CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END,
               CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE modifier END,
               CASE t.typtype WHEN 'd' THEN arrays ELSE '[]' END
          FROM peeled JOIN pg_type t ON t.oid = peeled.oid
         WHERE t.typtype = 'd' OR EXISTS (SELECT FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid)
    )
    SELECT CASE
             WHEN b.typtype = 'e' THEN 'enum'
             WHEN b.typtype = 'c' THEN 'row(' || (
                 SELECT string_agg(format_type(f.atttypid, f.atttypmod), ', ' ORDER BY f.attnum)
                   FROM pg_attribute f WHERE f.attrelid = b.typrelid AND f.attnum > 0 AND NOT f.attisdropped) || ')'
             WHEN b.typtype = 'r' AND b.typnamespace <> 'pg_catalog'::regnamespace THEN 'range of ' || (
                 SELECT format_type(r.rngsubtype, -1) FROM pg_range r WHERE r.rngtypid = b.oid)
             ELSE format_type(b.oid, modifier)
           END || arrays AS type
      FROM peeled JOIN pg_type b ON b.oid = peeled.oid
     WHERE b.typtype <> 'd' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.oid = b.typelem AND e.typarray = b.oid)
) base ON true
"""
"""For a query over `pg_attribute a`: joins `base.type`, see `Column.base`."""
