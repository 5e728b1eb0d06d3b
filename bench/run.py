"""What watching and holding a step costs: the trace of `assay run`, alone and behind walls, beside `strace`.

Every way of running a step takes its turn in each round, as one whole process with all that it starts; what counts is
CPU time of user and system together, the monitor's included (the machine is shared). "Beyond start" leaves out what the
same way needs for a program that ends at once: starting has rows of its own. `assay run` as a whole, which also digests
what was read, signs and stores, is measured where digests matter, with an empty and with a filled cache of digests.

    python bench/run.py [--pairs 5] [--sets start,opens,files,calls,train,imports,compile] [--scratch DIR]

Needs gcc, make and strace; takes about seven minutes. After each set its rows, and those of ``start``, which all are
measured against, replace the former ones in ``bench/results/run.json``; the other sets keep their figures.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
RESULTS = Path(__file__).parent / "results" / "run.json"

HELD = {"trace": "off", "auto": "auto", "strict": "strict"}
"""Way to `--isolate`: our tracer, without evidence."""
WAYS = ("bare", *HELD, "strace filtered", "strace")
WHOLE = ("assay run, first", "assay run, again")
CLAIMED = ("trace", "auto", "strict")
FEWER = {"strace": 2, "assay run, first": 3, "assay run, again": 3}
"""Rounds of ways about which nothing is claimed, on steps that take long."""
LONG = ("train", "imports", "compile")

SETS = {
    "start": "a program that ends at once",
    "opens": "50,000 opens of one file",
    "files": "20,000 files, each opened once",
    "calls": "200,000 calls of stat and getppid",
    "train": "random forest of 4 s",
    "imports": "import of scikit-learn, pandas, scipy.stats",
    "compile": "make of 61 C files",
}
CLAIMS = {"opens": 6.0, "files": 6.0, "calls": 0.2, "train": 5.0, "imports": 8.0, "compile": 20.0}
"""Microseconds of CPU a call; per cent of CPU beyond the bare step."""
COUNTS = {"opens": 50_000, "files": 20_000, "calls": 200_000}
START = 0.1
"""Seconds of CPU from the decision to run a step to its end, for a program that ends at once."""

LOOP = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (argc < 4) return 0;
    long count = atol(argv[2]);
    char name[4096];
    struct stat found;
    for (long i = 0; i < count; i++) {
        if (argv[1][0] == 'c') {
            if (i & 1 ? stat(argv[3], &found) : syscall(SYS_getppid) < 0) return 1;
            continue;
        }
        snprintf(name, sizeof name, argv[1][0] == 'f' ? "%s/%ld" : "%s", argv[3], i);
        int file = open(name, O_RDONLY);
        if (file < 0 || close(file)) return 1;
    }
}
"""
TRAIN = """
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
import pickle, sys
rows, labels = make_classification(9000, 20, n_informative=8, random_state=1)
model = RandomForestClassifier(140, random_state=1).fit(rows, labels)
with open(sys.argv[1], "wb") as file:
    pickle.dump(model, file)
"""
IMPORTS = "import sklearn.ensemble, pandas, scipy.stats\n"
SOURCE = r"""
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct row%d { double value; char name[32]; };
int compare%d(const void *a, const void *b) {
    double x = ((const struct row%d *)a)->value, y = ((const struct row%d *)b)->value;
    return (x > y) - (x < y);
}
double sum%d(struct row%d *rows, size_t count) {
    double sum = 0;
    qsort(rows, count, sizeof *rows, compare%d);
    for (size_t i = 0; i < count; i++) sum += sqrt(fabs(rows[i].value)) + strlen(rows[i].name);
    return errno ? -1 : sum;
}
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to run."""

    command: Sequence[str]
    inputs: Sequence[str] = ()
    output: str = ""
    """Folder, emptied before each run."""


def make(folder: Path) -> None:
    """The files of all steps."""
    (folder / "loop.c").write_text(LOOP)
    subprocess.run(["gcc", "-O2", "-static", "-o", folder / "loop", folder / "loop.c"], check=True)
    files = folder / "files"
    files.mkdir()
    for i in range(COUNTS["files"]):
        (files / str(i)).touch()
    (folder / "train.py").write_text(TRAIN)
    (folder / "imports.py").write_text(IMPORTS)
    sources = folder / "sources"
    sources.mkdir()
    for i in range(61):
        (sources / f"part{i}.c").write_text(SOURCE.replace("%d", str(i)))
    (sources / "Makefile").write_text(
        "all: $(patsubst %.c,$(OUT)/%.o,$(wildcard *.c))\n$(OUT)/%.o: %.c\n\tgcc -O1 -c -o $@ $<\n"
    )


def steps(folder: Path) -> dict[str, Step]:
    """What is run."""
    loop, data, sources, out = (str(folder / name) for name in ("loop", "loop.c", "sources", "out"))
    files = {"opens": data, "files": str(folder / "files"), "calls": data}
    loops = {name: Step([loop, name, str(COUNTS[name]), path], [path]) for name, path in files.items()}
    return {
        "start": Step([loop]),
        **loops,
        "train": Step([sys.executable, str(folder / "train.py"), f"{out}/model.pkl"], output=out),
        "imports": Step([sys.executable, str(folder / "imports.py")]),
        "compile": Step(["make", "-s", "-j1", "-C", sources, f"OUT={out}"], [sources], out),
    }


def compilers() -> tuple[str, ...]:
    """Programs that a compilation starts, which strict mode has to be told of."""
    from assay.guard.sandbox.software import programs

    asked = [subprocess.run(["gcc", f"-print-prog-name={name}"], capture_output=True, text=True, check=True).stdout
             for name in ("cc1", "as")]  # fmt: skip
    names = ("make", "gcc", "sh", *(name.strip() for name in asked))
    return tuple({path: None for name in names for path in programs([name], "/", os.environ["PATH"])})


def hold(isolation: str, report: str, step: Step) -> None:
    """Run a step as `assay run` does, up to where the evidence begins: in a process of its own, which the peers are
    too. What starting took is written to ``report``.
    """
    from assay.api.steps import installation
    from assay.collect.trace import hooks
    from assay.collect.trace.interface import Launch
    from assay.collect.trace.tracers import TRACERS
    from assay.guard.sandbox import paths, software
    from assay.guard.sandbox.interface import Isolation, Wanted
    from assay.guard.sandbox.plan import plan
    from assay.guard.sandbox.probe import probe
    from assay.guard.sandbox.walls import put_up

    began, cpu = time.perf_counter(), spent()
    with tempfile.TemporaryDirectory() as temporary:
        environment = {**os.environ, "TMPDIR": temporary}
        folders = installation(step.command[0])
        directory = os.getcwd()
        strict = step.command[0] == "make" and isolation == "strict"
        wanted = Wanted(
            Isolation(isolation),
            (),
            (*step.inputs, *(("/usr/include", "/usr/lib/gcc") if strict else ())),
            [step.output] if step.output else [],
            execute=(*software.programs(step.command, directory, os.environ["PATH"]), *(compilers() if strict else ())),
            code=(hooks.FOLDER, *software.code(step.command, directory, environment), *software.linked(folders)),
            installation=folders,
            directory=directory,
            temporary=temporary,
        )
        place = probe()
        chosen = plan(wanted, place)
        walls = put_up(wanted, place, chosen)
        try:
            mediate = [os.fsencode(path) for path in paths.inputs(wanted)] if isolation == "strict" else []
            launch = Launch(step.command, {**environment, **walls.environment}, directory, walls.confine, mediate)
            trace = TRACERS[chosen.trace].run(launch, walls.arbiter)
            walls.products()
            walls.settle(True)
        finally:
            walls.close()
    if trace.exit_code:
        raise SystemExit(f"the step ended with {trace.exit_code}")
    took = {"wall": time.perf_counter() - began, "cpu": spent() - cpu, "events": trace.events, "tier": chosen.tier}
    Path(report).write_text(json.dumps(took))


def spent() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def traced() -> str:
    """The calls that assay looks at, as strace names them; ``?`` leaves out what this strace does not know."""
    from assay.collect.trace.file_calls import WATCHED
    from assay.collect.trace.socket_calls import WATCHED as SOCKETS

    return ",".join(f"?{name}" for name in dict.fromkeys((*WATCHED, *SOCKETS, "execve", "execveat")))


def command(way: str, name: str, step: Step, folder: Path) -> list[str]:
    """How a step is run in one way."""
    log = str(folder / "strace.log")
    match way:
        case "bare":
            return list(step.command)
        case "strace filtered":
            return ["strace", "-f", "--seccomp-bpf", "-qq", "-o", log, "-e", f"trace={traced()}", *step.command]
        case "strace":
            return ["strace", "-f", "-qq", "-o", log, *step.command]
        case "assay run, first" | "assay run, again":
            where = ["--outputs", step.output] if step.output else []
            return [str(BIN / "assay"), "run", "-q", "--step", name, *where, "--", *step.command]
    return [sys.executable, __file__, "--hold", HELD[way], str(folder / "report"), name, str(folder)]


def run(words: list[str], env: dict[str, str]) -> tuple[float, float]:
    """CPU and wall seconds of one whole process with its children."""
    began = time.perf_counter()
    process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)[:300]}: exit code {process.returncode}\n{said.decode()[-2000:]}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - began


def measure(name: str, step: Step, pairs: int, folder: Path, env: dict[str, str]) -> dict[str, list[dict[str, float]]]:
    """Every way in turn, ``pairs`` rounds after one that warms up (of a long step only its files)."""
    kept: dict[str, list[dict[str, float]]] = {}
    ways = (*WAYS, *(WHOLE if name in ("start", "train", "imports") else ()))
    for i in range(pairs + 1):
        for way in ways if i or name == "start" else ways[:1]:
            if name in LONG and i > FEWER.get(way, pairs):
                continue
            if step.output:
                shutil.rmtree(step.output, ignore_errors=True)
                os.mkdir(step.output)
            if way == "assay run, first":
                shutil.rmtree(Path(env["XDG_CACHE_HOME"]) / "assay", ignore_errors=True)
            cpu, wall = run(command(way, name, step, folder), env)
            took = {"cpu": cpu, "wall": wall}
            if way in HELD:
                inside = json.loads((folder / "report").read_text())
                took |= {f"inside_{key}": inside[key] for key in ("cpu", "wall")} | {"events": inside["events"]}
            if i:
                kept.setdefault(way, []).append(took)
    return kept


def rows(name: str, kept: dict[str, list[dict[str, float]]], start: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Medians; ``value`` is what the claim is about, the median of the pairs."""
    for way, took in kept.items():
        middle = {key: statistics.median(each[key] for each in took) for key in took[0]}
        row = {"set": name, "what": SETS[name], "way": way, "pairs": len(took), **middle}
        if name == "start":
            if way in CLAIMED:
                row |= {"claim": START, "value": middle["inside_cpu"], "unit": "s"}
        elif way != "bare":
            beyond = [
                each["cpu"] - start.get(way, 0.0) - (bare["cpu"] - start["bare"])
                for each, bare in zip(took, kept["bare"], strict=False)
            ]
            if name in COUNTS:
                values = [each / COUNTS[name] * 1e6 for each in beyond]
            else:
                values = [each / bare["cpu"] * 100 for each, bare in zip(beyond, kept["bare"], strict=False)]
            row |= {"value": statistics.median(values), "least": min(values), "most": max(values)}
            row |= {"unit": "µs" if name in COUNTS else "%", "claim": CLAIMS[name] if way in CLAIMED else None}
        yield row


def line(row: dict[str, Any]) -> str:
    """For the terminal."""
    value = f"{row['value']:8.2f} {row['unit']:2}" if row.get("unit") else " " * 11
    spread = f" [{row['least']:.2f} to {row['most']:.2f}]" if "least" in row else ""
    claim = f"  claim {row['claim']:g}" if row.get("claim") else ""
    return f"{row['set']:8} {row['way']:17} {row['cpu']:7.3f} s CPU {row['wall']:7.3f} s {value}{spread}{claim}"


def main() -> None:
    """Measure and write the results."""
    if sys.argv[1:2] == ["--hold"]:
        _, _, isolation, report, name, folder = sys.argv
        hold(isolation, report, steps(Path(folder))[name])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(SETS))
    parser.add_argument("--scratch", type=Path, help="folder for some MB of files, which are removed at the end")
    parsed = parser.parse_args()
    if unknown := set(parsed.sets) - set(SETS):
        parser.error(f"there is no set {', '.join(sorted(unknown))}: there are {', '.join(SETS)}")
    scratch = Path(tempfile.mkdtemp(prefix="assay-bench-", dir=parsed.scratch))
    homes = {f"XDG_{kind}_HOME": str(scratch / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
    env = {**os.environ, **homes, "HOME": str(scratch)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody's Python compiles itself anew at each start
    try:
        run([str(BIN / "assay"), "keys", "generate"], env)
        make(scratch)
        start: dict[str, float] = {}
        for name in SETS:
            if name == "start" or name in parsed.sets:
                found = list(rows(name, measure(name, steps(scratch)[name], parsed.pairs, scratch, env), start))
                if name == "start":
                    start = {row["way"]: row["cpu"] for row in found}
                for row in found:
                    print(line(row), flush=True)
                write(name, found, parsed.pairs)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write(name: str, found: list[dict[str, Any]], pairs: int) -> None:
    """Put the rows of a set in the place of its former ones."""
    old = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    made = [*found, *(row for row in old if row["set"] != name)]
    made.sort(key=lambda row: (list(SETS).index(row["set"]), [*WAYS, *WHOLE].index(row["way"])))
    strace = subprocess.run(["strace", "-V"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    document = {
        "strace": strace.rpartition(" ")[2],
        "kernel": os.uname().release.partition("-")[0],
        "cores": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "pairs": pairs,
        "rows": made,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
