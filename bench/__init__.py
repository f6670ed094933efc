"""The benchmarks behind every speed that we name: `python -m bench [NAMES] [--runs N]`, or `make bench`.

Each row is a module with a baseline and ours, measured in the same run on the same private servers (fsync on), alternating, so that
ratios compare like with like even on a noisy machine. `__main__.py` prints the table and writes it to `results/`. The parts that
are measured are the product's own worker processes, or the whole service where that is the question.
"""
