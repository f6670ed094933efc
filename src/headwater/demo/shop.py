"""The demo's database: a small shop of four related tables, and what is in it, in each database's words."""

# ruff: noqa: S608  all statements are constants

from __future__ import annotations

TABLES = ("customers", "products", "orders", "order_items")

SCHEMA = """
CREATE TABLE customers (
    id bigint PRIMARY KEY, name text NOT NULL, email text NOT NULL, city text, since date NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE products (
    id bigint PRIMARY KEY, title text NOT NULL, price numeric(12,2) NOT NULL, stock integer NOT NULL, details jsonb,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers, status varchar(20) NOT NULL, note text,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE order_items (
    order_id bigint REFERENCES orders, line smallint, product_id bigint NOT NULL REFERENCES products,
    quantity integer NOT NULL, price numeric(12,2) NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (order_id, line));
"""

CUSTOMERS, PRODUCTS, ORDERS, LINES = 20_000, 2_000, 60_000, 2

FILL = f"""
INSERT INTO customers SELECT i, 'Customer ' || i, 'c' || i || '@example.com',
    (ARRAY['Aachen','Bergen','Córdoba','Délémont','Espoo', NULL])[1 + i % 6], date '2019-01-01' + i % 2500
    FROM generate_series(1, {CUSTOMERS}) AS i;
INSERT INTO products SELECT i, 'Product ' || i, (i * 37 % 9900 + 99) / 100.0, i * 7 % 500, jsonb_build_object('weight_g', i * 13 % 4000)
    FROM generate_series(1, {PRODUCTS}) AS i;
INSERT INTO orders SELECT i, 1 + i * 7919 % {CUSTOMERS}, (ARRAY['placed','paid','shipped'])[1 + i % 3],
    CASE WHEN i % 5 = 0 THEN E'leave at the door,\\n\\tplease \\\\o/' END FROM generate_series(1, {ORDERS}) AS i;
INSERT INTO order_items SELECT o, l, 1 + (o * 31 + l) % {PRODUCTS}, 1 + (o + l) % 4, ((o * 31 + l) % 9900 + 99) / 100.0
    FROM generate_series(1, {ORDERS}) AS o, generate_series(1, {LINES}) AS l;
ANALYZE;
"""

SCHEMA_MYSQL = """
CREATE TABLE customers (
    id bigint PRIMARY KEY, name varchar(200) NOT NULL, email varchar(200) NOT NULL, city varchar(200), since date NOT NULL,
    changed_at datetime(6) NOT NULL DEFAULT current_timestamp(6));
CREATE TABLE products (
    id bigint PRIMARY KEY, title varchar(200) NOT NULL, price decimal(12,2) NOT NULL, stock integer NOT NULL, details json,
    changed_at datetime(6) NOT NULL DEFAULT current_timestamp(6));
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer_id bigint NOT NULL, status varchar(20) NOT NULL, note text,
    changed_at datetime(6) NOT NULL DEFAULT current_timestamp(6), FOREIGN KEY (customer_id) REFERENCES customers (id));
CREATE TABLE order_items (
    order_id bigint, line smallint, product_id bigint NOT NULL, quantity integer NOT NULL, price decimal(12,2) NOT NULL,
    changed_at datetime(6) NOT NULL DEFAULT current_timestamp(6), PRIMARY KEY (order_id, line),
    FOREIGN KEY (order_id) REFERENCES orders (id), FOREIGN KEY (product_id) REFERENCES products (id));
"""


def _numbers(last: int, name: str = "n", column: str = "i") -> str:
    """The numbers from 1 on, as a table."""
    digits = " CROSS JOIN ".join(f"(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 "
                                 f"UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) {name}{at}" for at in range(5))  # fmt: skip
    number = " + ".join(f"{name}{at}.d * {10**at}" for at in range(5))
    return f"(SELECT * FROM (SELECT 1 + {number} AS {column} FROM {digits}) {name}_all WHERE {column} <= {last}) AS {name}"


FILL_MYSQL = (
    f"""
INSERT INTO customers (id, name, email, city, since) SELECT i, CONCAT('Customer ', i), CONCAT('c', i, '@example.com'),
    ELT(1 + i % 6, 'Aachen', 'Bergen', 'Córdoba', 'Délémont', 'Espoo', NULL), DATE '2019-01-01' + INTERVAL i % 2500 DAY
    FROM {_numbers(CUSTOMERS)}""",
    f"""
INSERT INTO products (id, title, price, stock, details) SELECT i, CONCAT('Product ', i), (i * 37 % 9900 + 99) / 100.0, i * 7 % 500,
    JSON_OBJECT('weight_g', i * 13 % 4000) FROM {_numbers(PRODUCTS)}""",
    f"""
INSERT INTO orders (id, customer_id, status, note) SELECT i, 1 + i * 7919 % {CUSTOMERS}, ELT(1 + i % 3, 'placed', 'paid', 'shipped'),
    IF(i % 5 = 0, 'leave at the door,\\n\\tplease \\\\o/', NULL) FROM {_numbers(ORDERS)}""",
    f"""
INSERT INTO order_items (order_id, line, product_id, quantity, price) SELECT o, l, 1 + (o * 31 + l) % {PRODUCTS}, 1 + (o + l) % 4,
    ((o * 31 + l) % 9900 + 99) / 100.0 FROM {_numbers(ORDERS, "os", "o")} CROSS JOIN (SELECT 1 AS l UNION SELECT {LINES}) AS ls""",
)
