"""Measures the knowledge graph at 10 k, 100 k and 1 M nodes, four edges a node, on both engines.

    python -m clarify.bench.kg --svg kg.svg                    # the embedded engine, and the seed's method
    python -m clarify.bench.kg --neo4j --svg kg.svg            # also Neo4j: starts the server of the tests
    python -m clarify.bench.kg --graphs FOLDER                 # keep the embedded graphs, or use those
    python -m clarify.bench.kg --shipped 5                     # only: build the shipped graph, five times

For every size and engine, in a process of its own: time to build and to open, memory, and n calls of every
named query and of linking (exact names, names in another order of words, misspelt ones), each about a disease
drawn at random, after n others that fill the caches and are told apart ("first"). The seed's method (the
cosine of one 384-number vector with that of every node's name, the best one's outgoing edges) runs beside
them; its vectors are random, because embedding a million names takes hours and the search costs the same, and
the time to embed the question is left out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ..graph_schema.build import build_graph
from ..graph_schema.linking import link
from ..graph_schema.multihop import MULTIHOP, TREATMENT_PAIRS
from ..graph_schema.predicates import PREDICATES, QUERIES
from ..graph_schema.retrieval import run_query
from ..graph_schema.stores.base import BaseStore
from .kg_data import Made
from .kg_svg import draw

QUERY_REACH = 5.0
REACH = {"link, exact": 15.0, "link, full text": 15.0, "link, misspelt": 50.0}
"""Most milliseconds of the 95th percentile at a million nodes, embedded; `QUERY_REACH` for all others."""
Table = dict[str, Any]


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile, with the 95 % bootstrap interval of the latter."""
    values = np.asarray(milliseconds)
    draws = np.random.default_rng(0).choice(values, (400, len(values)))
    low, high = np.percentile(np.percentile(draws, 95, axis=1), (2.5, 97.5))
    p50, p95 = np.percentile(values, (50, 95))
    return {"p50": float(p50), "p95": float(p95), "low": float(low), "high": float(high), "n": len(values)}


def timed(n: int, call: Callable[[int], Any]) -> dict[str, float]:
    """Calls with 0..n-1 after as many others, whose own percentile is "first p95": they fill the caches."""
    took = []
    for i in (*range(n, 2 * n), *range(n)):
        start = time.perf_counter()
        call(i)
        took.append(1000 * (time.perf_counter() - start))
    return {**percentiles(took[n:]), "first p95": percentiles(took[:n])["p95"]}


def misspelt(rng: random.Random, name: str) -> str:
    """One letter of one word is lost, doubled, swapped or replaced."""
    words = name.split(" ")
    at = rng.randrange(len(words))
    word = words[at]
    i = rng.randrange(1, len(word) - 1)
    kinds = (
        word[:i] + word[i + 1 :],
        word[:i] + word[i] + word[i:],
        word[: i - 1] + word[i] + word[i - 1] + word[i + 1 :],
        word[:i] + rng.choice("aeiou") + word[i + 1 :],
    )
    words[at] = rng.choice(kinds)
    return " ".join(words)


def questions(kg: BaseStore, made: Made, n: int) -> dict[str, Callable[[int], Any]]:
    """Everything that is timed, by name; each takes the number of the call."""
    rng = random.Random(1)
    asked = [rng.choice(made.diseases) for _ in range(2 * n)]
    others = [rng.choice(made.diseases)[0] for _ in asked]
    name = [rng.choice(names) for _, names in asked]
    wrong = [misspelt(rng, words) for words in name]
    sign, site = (
        [next(made.facts(PREDICATES[relation], curie, names[0]))["object"] for curie, names in asked]
        for relation in ("clinical sign", "site")
    )

    def about(query: str, more: Sequence[str]) -> Callable[[int], Any]:
        return lambda i: run_query(kg, query, [asked[i][0], *more[i : i + 1]])

    found = {query: about(query, ()) for query in QUERIES}
    found |= {query: about(query, others) for query in TREATMENT_PAIRS}
    found[MULTIHOP[0]] = lambda i: run_query(kg, MULTIHOP[0], signs=[sign[i]], site=site[i])
    found["link, exact"] = lambda i: link(kg, name[i])
    found["link, full text"] = lambda i: link(kg, " ".join(name[i].split(" ")[::-1]))
    found["link, misspelt"] = lambda i: link(kg, wrong[i])
    return found


def fill(kg: BaseStore, made: Made) -> tuple[int, int]:
    """Writes the graph and returns its numbers of nodes and of relationships."""
    nodes = edges = 0
    for label, rows in made.nodes():
        kg.upsert_nodes(label, rows)
        nodes += len(rows)
    for (type_, src, dst), rows in made.edges():
        kg.upsert_edges(type_, src, dst, rows)
        edges += len(rows)
    return nodes, edges


def measure(size: int, n: int, folder: Path, neo4j: tuple[str, str] | None) -> Table:
    """Builds one graph in one engine and times it; run in a process of its own, whose memory counts."""
    from ..graph_schema.stores.ladybug_store import LadybugKG
    from ..graph_schema.stores.neo4j_store import Neo4jKG

    made = Made(size)

    def opened(read_only: bool) -> BaseStore:
        if neo4j:
            return Neo4jKG(neo4j[0], "neo4j", neo4j[1], read_only=read_only)
        return LadybugKG(folder / f"{size}.lbug", read_only=read_only)

    built = folder / f"{size}.json"
    if built.exists():
        table: Table = json.loads(built.read_text(encoding="utf-8"))
    else:
        start = time.perf_counter()
        kg = opened(False)
        nodes, edges = fill(kg, made)
        if isinstance(kg, LadybugKG):
            kg.checkpoint()
        kg.close()
        table = {"nodes": nodes, "edges": edges, "build s": time.perf_counter() - start}
        built.write_text(json.dumps(table), encoding="utf-8")
    before = resident()
    start = time.perf_counter()
    kg = opened(True)
    run_query(kg, "describe", [made.diseases[0][0]])
    table["open s"] = time.perf_counter() - start
    table["ms"] = {name: timed(n, call) for name, call in questions(kg, made, n).items()}
    table["client memory MB" if neo4j else "memory MB"] = resident() - before
    kg.close()
    if not neo4j:
        table["file MB"] = sum(f.stat().st_size for f in folder.glob(f"{size}.*")) / 1e6
    return table


def seed_method(size: int, n: int) -> Table:
    """The cosine with every name, then the edges of the best one; random vectors, edges in a table."""
    rng = np.random.default_rng(0)
    names = rng.standard_normal((size, 384), dtype=np.float32)
    names /= np.linalg.norm(names, axis=1, keepdims=True)
    edges = rng.integers(0, size, (size, 4))
    asked = rng.standard_normal((2 * n, 384), dtype=np.float32)
    return {"ms": {"link and fetch": timed(n, lambda i: edges[int(np.argmax(names @ asked[i]))].tolist())}}


def resident() -> float:
    """Megabytes of this process that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def apart(work: Callable[..., Table], *args: Any) -> Table:
    """Runs in a fresh process, so that memory and caches are its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, args)


def run(sizes: Sequence[int], n: int, with_neo4j: bool, graphs: Path | None) -> dict[str, dict[int, Table]]:
    """Measures every engine at every size; embedded graphs stay in `graphs` where it is given."""
    found: dict[str, dict[int, Table]] = {"embedded": {}, "neo4j": {}, "seed's method": {}}
    for size in sizes:
        with nullcontext(graphs) if graphs else tempfile.TemporaryDirectory() as folder:
            found["embedded"][size] = apart(measure, size, n, Path(folder), None)
        show("embedded", size, found["embedded"][size])
        found["seed's method"][size] = apart(seed_method, size, n)
        show("seed's method", size, found["seed's method"][size])
        if with_neo4j:
            from ..tests.neo4j.server import Server

            with tempfile.TemporaryDirectory() as folder:
                server = Server(Path(folder))
                server.start("server.memory.pagecache.size=1g")
                try:
                    login = (server.url, server.password)
                    found["neo4j"][size] = apart(measure, size, n, Path(folder), login)
                finally:
                    server.stop()
            show("neo4j", size, found["neo4j"][size])
    return {engine: tables for engine, tables in found.items() if tables}


def show(engine: str, size: int, table: Table) -> None:
    """Prints one engine at one size."""
    print(f"\n{engine}, {size:,} nodes")
    for key, value in table.items():
        if key != "ms":
            print(f"    {key:24s} {value:12,.1f}")
    for name, p in table["ms"].items():
        print(
            f"    {name:24s} p50 {p['p50']:9.2f} ms   p95 {p['p95']:9.2f} ms "
            f"[{p['low']:.2f}, {p['high']:.2f}]   n = {p['n']}   first p95 {p['first p95']:.2f} ms",
            flush=True,
        )


def verdict(found: dict[str, dict[int, Table]]) -> None:
    """Prints each p95 at the largest size beside what it may be, and its growth from the smallest."""
    tables = found["embedded"]
    small, large = tables[min(tables)]["ms"], tables[max(tables)]["ms"]
    print(f"\nembedded, {max(tables):,} nodes against {min(tables):,}")
    for name, p in large.items():
        most = REACH.get(name, QUERY_REACH)
        growth = p["p95"] / small[name]["p95"]
        word = "met" if p["p95"] <= most and (growth <= 2 or name in REACH) else "MISSED"
        print(f"    {name:24s} p95 {p['p95']:8.2f} ms (at most {most:g})   growth {growth:5.2f} x   {word}")
    ours, theirs = large["link, exact"]["p50"], found["seed's method"][max(tables)]["ms"]["link and fetch"]
    print(f"    the seed's search takes {theirs['p50'] / ours:.1f} times as long as an exact name (medians)")


def shipped(times: int) -> None:
    """Builds the shipped graph a few times and prints the seconds."""
    took = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            build_graph(Path(folder))
            took.append(time.perf_counter() - start)
    print(f"shipped graph: median {np.median(took):.2f} s, slowest {max(took):.2f} s, n = {times}")


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--n", type=int, default=300, help="calls of each kind")
    parser.add_argument("--neo4j", action="store_true", help="also measure the server")
    parser.add_argument("--shipped", type=int, help="only build the shipped graph, so many times")
    parser.add_argument("--graphs", type=Path, help="keep the embedded graphs here, or use those there")
    parser.add_argument("--svg", type=Path, help="draw the results into this file")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    shipped(args.shipped or 3)
    if args.shipped:
        return
    if args.graphs:
        args.graphs.mkdir(parents=True, exist_ok=True)
    found = run(args.sizes, args.n, args.neo4j, args.graphs)
    verdict(found)
    if args.svg:
        args.svg.write_text(draw(found), encoding="utf-8")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
