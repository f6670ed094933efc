"""50 idle tasks on one source: one slot, one capture, hardly any processor time; and what a further task takes in memory."""

from __future__ import annotations

import time

from bench import machine
from bench.measure import Figures, Row
from bench.options import Options
from bench.servers import Servers, one
from bench.service import Service
from headwater.client import Mapped

TASKS = 50
SETTLE_S = 5.0
WATCH_S = 20.0
CPU_LIMIT = 0.05
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE starts_with(slot_name::text, 'headwater_')"


def run(servers: Servers, options: Options) -> list[Row]:
    """The rows."""
    tasks = max(2, options.of(TASKS))
    servers.on_source.execute("CREATE TABLE idle (id bigint PRIMARY KEY, words text)")
    with Service() as service:
        source, target = service.data_source("source", servers.source), service.data_source("target", servers.target)
        ids = [_add(servers, service, source, target, 0)]
        service.following(ids)
        one_cpu, one_mb = _watch(service)
        ids += [_add(servers, service, source, target, number) for number in range(1, tasks)]
        service.following(ids)
        all_cpu, all_mb = _watch(service)
        slots = int(one(servers.on_source, SLOTS))
    further = (all_mb - one_mb) / (tasks - 1)
    ours, alone = Figures(f"{tasks} tasks", "of a core", [all_cpu]), Figures("one task", "of a core", [one_cpu])
    note = f"{slots} slot; {one_mb:.0f} MB with one task, {all_mb:.0f} MB with {tasks}: {further:.1f} MB per further task"
    return [
        Row(f"{tasks} idle tasks on one source, processor", ours, alone, f"< {CPU_LIMIT:g}", all_cpu < CPU_LIMIT and slots == 1, note=note)
    ]


def _add(servers: Servers, service: Service, source: str, target: str, number: int) -> str:
    servers.on_target.execute(f"CREATE TABLE idle_{number} (id bigint PRIMARY KEY, words text)".encode())
    return service.task(f"idle-{number}", source, target, Mapped("public.idle", f"public.idle_{number}"))


def _watch(service: Service) -> tuple[float, float]:
    """Share of a core that all our processes use, and their memory in MB."""
    time.sleep(SETTLE_S)
    pids = service.processes()
    began, used = time.monotonic(), machine.cpu_s(pids)
    time.sleep(WATCH_S)
    return (machine.cpu_s(pids) - used) / (time.monotonic() - began), machine.memory_mb(pids)
