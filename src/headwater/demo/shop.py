"""The demo's database: a small shop of four related tables, what is in it, and the life that goes on in it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg

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
"""  # noqa: S608 - constants above

ACCIDENT = {
    "customers": "UPDATE customers SET email = 'null', city = 'TODO' WHERE changed_at >= %(since)s",
    "products": "UPDATE products SET price = 0, title = 'test test' WHERE changed_at >= %(since)s",
    "orders": "UPDATE orders SET status = '???', note = 'undefined' WHERE changed_at >= %(since)s",
    "order_items": "UPDATE order_items SET quantity = -1, price = 99999.99 WHERE changed_at >= %(since)s",
}
"""What the bad release does to the target, by table."""

NONSENSE = {
    "customers": "email = 'null'",
    "products": "title = 'test test'",
    "orders": "status = '???'",
    "order_items": "quantity = -1",
}
"""How its traces are recognised."""


Act = Callable[[psycopg.Cursor[Any]], Counter[str]]


class Life(threading.Thread):
    """What customers and staff do: short transactions over all tables, from a thread, until `stop`.

    Paced to about `per_s` transactions per second. `transactions` and `rows` (by kind) count what was committed. A failure ends
    the thread and stands in `failure`.
    """

    def __init__(self, dsn: str, per_s: float) -> None:
        super().__init__(name="life", daemon=True)
        self._dsn, self.per_s = dsn, per_s
        self._random = random.Random(7)  # noqa: S311 - not for secrets; the same story each time
        self._over = threading.Event()
        self._next_order = 0
        self.transactions = 0
        self.rows: Counter[str] = Counter()
        self.failure: psycopg.Error | None = None

    def run(self) -> None:
        """See `threading.Thread.run`."""
        acts: list[Callable[[psycopg.Cursor[Any]], Counter[str]]] = [
            self._place,
            self._place,
            self._place,
            self._advance,
            self._move,
            self._cancel,
        ]
        try:
            with psycopg.connect(self._dsn) as connection:
                self._next_order = _next_order(connection)
                while not self._over.wait(self._random.expovariate(self.per_s)):
                    with connection.transaction(), connection.cursor() as cursor:
                        done = self._random.choice(acts)(cursor)
                    self.transactions += 1
                    self.rows += done
        except psycopg.Error as error:
            self.failure = error

    def stop(self) -> None:
        """End after the transaction that is under way, and wait for that."""
        self._over.set()
        self.join()

    def _place(self, cursor: psycopg.Cursor[Any]) -> Counter[str]:
        """A customer orders something: an order, its items, less in stock."""
        order, self._next_order = self._next_order, self._next_order + 1
        cursor.execute("INSERT INTO orders VALUES (%s, %s, 'placed')", (order, self._random.randint(1, CUSTOMERS)))
        products = self._random.sample(range(1, PRODUCTS + 1), self._random.randint(1, 5))
        items = [(order, line, product, self._random.randint(1, 4), product % 90 + 9) for line, product in enumerate(products, 1)]
        cursor.executemany("INSERT INTO order_items VALUES (%s, %s, %s, %s, %s)", items)
        cursor.execute("UPDATE products SET stock = stock - 1, changed_at = clock_timestamp() WHERE id = ANY(%s)", (products,))
        return Counter(inserted=1 + len(items), updated=cursor.rowcount)

    def _advance(self, cursor: psycopg.Cursor[Any]) -> Counter[str]:
        """Some orders are shipped."""
        chosen = [self._random.randint(1, self._next_order - 1) for _ in range(3)]
        cursor.execute("UPDATE orders SET status = 'shipped', changed_at = clock_timestamp() WHERE id = ANY(%s)", (chosen,))
        return Counter(updated=cursor.rowcount)

    def _move(self, cursor: psycopg.Cursor[Any]) -> Counter[str]:
        """A customer moves house."""
        chosen = self._random.randint(1, CUSTOMERS)
        cursor.execute("UPDATE customers SET city = 'Zürich', changed_at = clock_timestamp() WHERE id = %s", (chosen,))
        return Counter(updated=cursor.rowcount)

    def _cancel(self, cursor: psycopg.Cursor[Any]) -> Counter[str]:
        """An order is cancelled: it and its items go."""
        chosen = self._random.randint(1, self._next_order - 1)
        cursor.execute("DELETE FROM order_items WHERE order_id = %s", (chosen,))
        items = cursor.rowcount
        cursor.execute("DELETE FROM orders WHERE id = %s", (chosen,))
        return Counter(deleted=items + cursor.rowcount)


def _next_order(connection: psycopg.Connection[Any]) -> int:
    """The id after all orders that there ever were in this shop, as far as it still shows."""
    row = connection.execute("SELECT max(id) + 1 FROM orders").fetchone()
    connection.rollback()
    return int(row[0]) if row else 1
