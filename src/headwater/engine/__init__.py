"""The data plane: capture, snapshot, apply, the supervisor that reconciles wish and fact, and runtimes that place workers."""
