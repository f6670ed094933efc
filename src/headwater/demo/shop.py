"""The demo's database: a small shop of four related tables, what is in it, and the life that goes on in it."""

# ruff: noqa: S608  all statements are constants

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.demo.sides import Session, Side

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

ACCIDENT = {
    "customers": "UPDATE customers SET email = 'null', city = 'TODO' WHERE changed_at >= %s",
    "products": "UPDATE products SET price = 0, title = 'test test' WHERE changed_at >= %s",
    "orders": "UPDATE orders SET status = '???', note = 'undefined' WHERE changed_at >= %s",
    "order_items": "UPDATE order_items SET quantity = -1, price = 99999.99 WHERE changed_at >= %s",
}
"""What the bad release does to the target, by table."""

NONSENSE = {
    "customers": "email = 'null'",
    "products": "title = 'test test'",
    "orders": "status = '???'",
    "order_items": "quantity = -1",
}
"""How its traces are recognised."""


Act = Callable[["Session"], Counter[str]]


class Life(threading.Thread):
    """What customers and staff do: short transactions over all tables, from a thread, until `stop`.

    Paced to about `per_s` transactions per second. `transactions` and `rows` (by kind) count what was committed. A failure ends
    the thread and stands in `failure`.
    """

    def __init__(self, side: Side, per_s: float) -> None:
        super().__init__(name="life", daemon=True)
        self._side, self.per_s = side, per_s
        self._random = random.Random(7)  # noqa: S311 - not for secrets; the same story each time
        self._over = threading.Event()
        self._next_order = 0
        self._changed = f"changed_at = {side.clock}"
        self.transactions = 0
        self.rows: Counter[str] = Counter()
        self.failure: Exception | None = None

    def run(self) -> None:
        """See `threading.Thread.run`."""
        acts: list[Act] = [self._place, self._place, self._place, self._advance, self._move, self._cancel]
        try:
            with self._side.session() as session:
                self._next_order = int(session.one("SELECT max(id) + 1 FROM orders"))  # after all that there ever were, as far as it shows
                session.commit()
                while not self._over.wait(self._random.expovariate(self.per_s)):
                    done = self._random.choice(acts)(session)
                    session.commit()
                    self.transactions += 1
                    self.rows += done
        except Exception as error:  # noqa: BLE001 - whatever the driver raises; told by who waits for it
            self.failure = error

    def stop(self) -> None:
        """End after the transaction that is under way, and wait for that."""
        self._over.set()
        self.join()

    def _place(self, session: Session) -> Counter[str]:
        """A customer orders something: an order, its items, less in stock."""
        order, self._next_order = self._next_order, self._next_order + 1
        placed = "INSERT INTO orders (id, customer_id, status) VALUES (%s, %s, 'placed')"
        session.run(placed, (order, self._random.randint(1, CUSTOMERS)))
        products = self._random.sample(range(1, PRODUCTS + 1), self._random.randint(1, 5))
        item = "INSERT INTO order_items (order_id, line, product_id, quantity, price) VALUES (%s, %s, %s, %s, %s)"
        for line, product in enumerate(products, 1):
            session.run(item, (order, line, product, self._random.randint(1, 4), product % 90 + 9))
        less = f"UPDATE products SET stock = stock - 1, {self._changed} WHERE id IN ({_places(products)})"
        return Counter(inserted=1 + len(products), updated=session.run(less, products))

    def _advance(self, session: Session) -> Counter[str]:
        """Some orders are shipped."""
        chosen = [self._random.randint(1, self._next_order - 1) for _ in range(3)]
        shipped = f"UPDATE orders SET status = 'shipped', {self._changed} WHERE id IN ({_places(chosen)})"
        return Counter(updated=session.run(shipped, chosen))

    def _move(self, session: Session) -> Counter[str]:
        """A customer moves house."""
        chosen = self._random.randint(1, CUSTOMERS)
        return Counter(updated=session.run(f"UPDATE customers SET city = 'Zürich', {self._changed} WHERE id = %s", (chosen,)))

    def _cancel(self, session: Session) -> Counter[str]:
        """An order is cancelled: it and its items go."""
        chosen = self._random.randint(1, self._next_order - 1)
        items = session.run("DELETE FROM order_items WHERE order_id = %s", (chosen,))
        return Counter(deleted=items + session.run("DELETE FROM orders WHERE id = %s", (chosen,)))


def _places(values: list[int]) -> str:
    return ", ".join(["%s"] * len(values))
