"""Do the tests notice a wrong line? Small faults are put into the package one at a time, and the tests that run the line are run.

    make coverage && make mutants                 # or: python tests/mutants.py --count 30 --seed 0

The places are drawn by seed, so a sample is the same for every suite of the same code. Which tests run a line is read from the
contexts that ``make coverage`` records. A test module shares values between its tests, so the other tests of a module that runs
the line follow. A mutant is killed by the first test that fails; it survives when none does within the limit of time.
"""

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import coverage

ROOT = Path(__file__).parents[1]
PLACES = ("algorithms", "calibration", "graph", "layers", "export", "numerics")
#: The levels of the suite, in the order in which they are tried: what pytest is told to select, by name.
LEVELS = {"make test": "not extended", "make test-all": "extended"}

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}


@dataclass(frozen=True)
class Mutant:
    """One small fault: ``source[start:end]`` of a file, and what stands there instead."""

    path: str
    line: int
    last_line: int
    start: int
    end: int
    before: str
    after: str

    def __str__(self):
        return f"{self.path}:{self.line}: {shortened(self.before)} -> {shortened(self.after)}"

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.end :]


@dataclass
class Outcome:
    """What the tests said of one mutant: by whom it was killed, or why it was not."""

    mutant: Mutant
    killed_at: str | None = None
    killer: str = ""
    tests: int = 0
    seconds: float = 0.0
    remark: str = ""


def shortened(text):
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


# Places and faults


def mutants_of(path, source):
    """Return every mutant of a module; annotations, text and what f-strings hold are left alone."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []

    def visit(node, statement):
        if isinstance(node, ast.stmt):
            statement = node
        for after in replacements(node):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            before = source[start:end].decode()
            if before != after:
                found.append(Mutant(path, statement.lineno, node.end_lineno, start, end, before, after))
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "type_params") or isinstance(node, ast.JoinedStr):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    visit(child, statement)

    visit(ast.parse(source), None)
    return found


def replacements(node):
    """Yield what may stand in place of a node, as source code."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
            yield f"({ast.unparse(ast.Compare(node.left, [COMPARISONS[type(operator)]()], node.comparators))})"
        case ast.BinOp(op=operator) if type(operator) in ARITHMETIC:
            yield f"({ast.unparse(ast.BinOp(node.left, ARITHMETIC[type(operator)](), node.right))})"
        case ast.BoolOp(op=operator):
            other = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield f"({ast.unparse(ast.BoolOp(other, node.values))})"
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield f"({ast.unparse(node.operand)})"
        case ast.Constant(value=bool()):
            yield str(not node.value)
        case ast.Constant(value=int() | float()):
            yield repr(node.value + 1)
        case ast.Expr(value=ast.Call()):
            yield "pass"
        case ast.Continue():
            yield "break"
        case ast.Break():
            yield "continue"


def drawn(root, count, seed):
    """Return a sample of mutants; every fault in the packages that are measured is as likely as every other."""
    package = root / "keras_compress"
    modules = [
        module
        for place in PLACES
        for module in ([package / place] if "." in place else package.glob(f"{place}/**/*.py"))
    ]
    every = [
        mutant
        for module in sorted(modules)
        for mutant in mutants_of(module.relative_to(root).as_posix(), module.read_bytes())
    ]
    return random.Random(seed).sample(every, count)


# Tests that run a line


@dataclass
class Contexts:
    """The tests that ran each line, from a coverage file; broad tests, which run many lines, come last."""

    file: Path
    breadth: Counter = field(default_factory=Counter)

    def __post_init__(self):
        self.data = coverage.CoverageData(str(self.file))
        self.data.read()
        self.lines = {}
        for path in self.data.measured_files():
            by_line = defaultdict(set)
            for line, contexts in self.data.contexts_by_lineno(path).items():
                by_line[line] = {test_of(context) for context in contexts if context}
                self.breadth.update(by_line[line])
            self.lines[path.partition("/keras_compress")[2]] = by_line
        self.modules = defaultdict(set)
        for test in self.breadth:
            self.modules[test.partition("::")[0]].add(test)

    def tests_for(self, mutant):
        """Return the tests to run: those that ran the line, narrow ones first, then the others of their modules."""
        by_line = self.lines.get(mutant.path.partition("keras_compress")[2], {})
        direct = set().union(*(by_line.get(line, ()) for line in range(mutant.line, mutant.last_line + 1)))
        if not direct:  # a line that is run while the module is imported, or by a traced function
            direct = set().union(*by_line.values())
        neighbours = set().union(*(self.modules[test.partition("::")[0]] for test in direct)) - direct
        mirrored = (
            f"tests/{Path(mutant.path).relative_to('keras_compress').parent.as_posix()}/test_{Path(mutant.path).name}"
        )
        own = Path(mirrored).as_posix()

        def order(test):
            return not test.startswith(own), self.breadth[test], test

        return [*sorted(direct, key=order), *sorted(neighbours, key=order)]


def test_of(context):
    """Return the id of the test of a context ``test|phase``, without the group that a distributed run adds."""
    test = context.rpartition("|")[0]
    head, at, group = test.rpartition("@")
    return head if at and "]" not in group and "::" not in group else test


# Running


def copy_of(root, folder):
    """Copy what git tracks and what it does not ignore."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in names:
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)


def tried(mutant, tests, levels, folder, limit):
    """Run the tests over one mutant in a copy of the project, level by level, until one fails."""
    outcome = Outcome(mutant, tests=len(tests))
    file = folder / mutant.path
    source = file.read_bytes()
    start = time.monotonic()
    try:
        file.write_bytes(mutant.applied(source))
        for level, selection in levels.items():
            left = limit - (time.monotonic() - start)
            killer, remark = failed(tests, selection, folder, max(left, 20.0))
            outcome.remark = remark
            if killer:
                outcome.killed_at, outcome.killer = level, killer
                break
    finally:
        file.write_bytes(source)
        outcome.seconds = time.monotonic() - start
    return outcome


def failed(tests, selection, folder, limit):
    """Return the first test that fails, or ``""`` and a remark."""
    if not tests:
        return "", "no test runs the line"
    listed = folder / "selected_tests.txt"
    listed.write_text("\n".join(tests))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += [*(["-m", selection] if selection else []), f"@{listed.name}"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "agg"}
    environment |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    timer = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        output, _ = process.communicate()
    finally:
        timer.cancel()
    if process.returncode == -signal.SIGKILL:
        return "", "time was over"
    named = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if process.returncode in (0, 5):
        return "", "" if process.returncode == 0 else "no test of this level runs the line"
    return (named[0].split(" - ")[0] if named else output.strip().splitlines()[-1]), ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the project; by default this one")
    parser.add_argument("--coverage", type=Path, default=ROOT / ".coverage", help="what make coverage wrote")
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds per mutant")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one-level", action="store_true", help="run all tests as one level")
    arguments = parser.parse_args()
    if not arguments.coverage.is_file():
        parser.error(f"there is no {arguments.coverage}: run make coverage first")
    mutants = drawn(arguments.root, arguments.count, arguments.seed)
    contexts = Contexts(arguments.coverage)
    levels = {"all tests": ""} if arguments.one_level else LEVELS
    folders = SimpleQueue()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(arguments.workers) as pool:
        for number in range(arguments.workers):
            folder = Path(temporary, str(number))
            copy_of(arguments.root, folder)
            folders.put(folder)

        def run(mutant):
            folder = folders.get()
            try:
                outcome = tried(mutant, contexts.tests_for(mutant), levels, folder, arguments.limit)
            finally:
                folders.put(folder)
            verdict = f"killed by {outcome.killer}" if outcome.killed_at else f"SURVIVED {outcome.remark}".strip()
            print(f"{outcome.seconds:5.0f} s {outcome.tests:5} tests  {mutant}  {verdict}", flush=True)
            return outcome

        outcomes = list(pool.map(run, mutants))
    killed = 0
    for level in levels:
        killed += sum(outcome.killed_at == level for outcome in outcomes)
        print(f"{level}: {killed} of {len(outcomes)} mutants killed")


if __name__ == "__main__":
    main()
