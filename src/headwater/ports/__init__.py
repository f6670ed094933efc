"""Contracts between the parts: what a source, a target, a journal, a store and a runtime promise.

Each is a `Protocol` whose docstring states order of calls, concurrency, idempotence, the empty case, and what
*returning* promises. One contract suite (`tests/contract`) runs over every implementation, fakes included.
"""
