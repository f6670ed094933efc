"""What happens in the demo's shop: the life that goes on at the source, and the accident at the target."""

# ruff: noqa: S608  all statements are constants

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable

from headwater.demo.shop import CUSTOMERS, PRODUCTS
from headwater.demo.sides import Session, Side

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


Act = Callable[[Session], Counter[str]]


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
