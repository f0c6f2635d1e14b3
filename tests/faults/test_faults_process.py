"""A process that is interrupted, forks, or ends while work is under way: no crash, no hang, and the next call works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from faults import run, succeed

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

START = """
import os, random, signal, sys, threading, time
import numpy as np
from skimage import data
import lgin_edge

model, threads = sys.argv[1], int(sys.argv[2])
picture = data.astronaut()
t = lgin_edge.Transformer(model, threads=threads)
expected = t.age(picture, group=4)
assert (expected != picture).any()

def works(t):
    return bool((t.age(picture, group=4) == expected).all())
"""

# ---- interrupted -----------------------------------------------------------------------------------------------------

INTERRUPTED = (
    START
    + """
random.seed(0)

def interrupt(*_):
    raise KeyboardInterrupt

def frames():
    while True:
        time.sleep(0.005)
        yield picture

signal.signal(signal.SIGALRM, interrupt)
before = time.monotonic()
works(t)
once = time.monotonic() - before
heard = {"age": 0, "in order": 0, "live": 0}
for turn in range(24):
    what = list(heard)[turn % 3]
    try:
        # Again after a while: Python drops what is raised in a finalizer.
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 1.2 * once), 5.0)
        if what == "age":
            while True:
                t.age(picture, group=0)
        for _ in lgin_edge.Stream(frames(), t, group=4, live=what == "live"):
            pass
    except KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)
        heard[what] += 1
    assert works(t), (turn, what)
end = time.monotonic() + 60
while any(thread.name.startswith("lgin-") for thread in threading.enumerate()):
    assert time.monotonic() < end, threading.enumerate()
    time.sleep(0.01)
t.close()
print(heard)
"""
)


def test_interrupted_in_the_middle(subprocess_env: dict[str, str], tiny_model: Path) -> None:
    """Ctrl-C at any moment of a call or of a stream, 24 times."""
    heard = succeed(INTERRUPTED, subprocess_env, tiny_model, 2)
    assert heard.strip() == "{'age': 8, 'in order': 8, 'live': 8}"


# ---- forked ----------------------------------------------------------------------------------------------------------

FORKED = (
    START
    + """
what = sys.argv[3]
stop = threading.Event()
busy = [threading.Thread(target=lambda: [works(t) for _ in iter(stop.is_set, True)], daemon=True) for _ in range(2)]
stream = None
if what == "stream":
    stream = lgin_edge.Stream((picture for _ in iter(int, 1)), t, group=4, live=True)
    next(stream)
if what == "busy":
    for thread in busy:
        thread.start()
    time.sleep(0.3)
children = []
for _ in range(5 if what == "busy" else 1):
    child = os.fork()
    if child:
        children.append(child)
        continue
    signal.alarm(60)  # whatever hangs ends by SIGALRM
    for use in (
        lambda: t.age(picture, group=4),
        lambda: t.timeline(picture),
        lambda: t.detect(picture),
        lambda: t.estimate_age(picture),
        lambda: next(lgin_edge.Stream([picture], t, group=4)),
        *([lambda: next(stream)] if stream else []),
    ):
        try:
            use()
        except lgin_edge.BackendError as error:
            assert "make a new one here" in str(error), error
        else:
            assert isinstance(use, str), "it was used in a child"
    if what == "new":
        with lgin_edge.Transformer(model, threads=threads) as own:
            assert works(own)
    if stream:
        stream.close()
    t.close()
    if what == "exit":
        sys.exit(7)  # ends as a program does: everything is torn down
    if what == "forgotten":
        del t
    sys.stdout.flush()
    os._exit(7)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert codes == [7] * len(children), codes
stop.set()
assert works(t)
if stream:
    next(stream)
    stream.close()
t.close()
print("fine")
"""
)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("what", ["exit", "forgotten", "new", "stream", "busy"])
def test_a_forked_child(subprocess_env: dict[str, str], tiny_model: Path, what: str) -> None:
    """What was made in the parent is refused in a child, and does not keep it from ending; the parent goes on."""
    env = subprocess_env | {
        "PYTHONWARNINGS": "error,ignore::DeprecationWarning"
    }  # Python 3.12 warns of every fork with threads
    assert succeed(FORKED, env, tiny_model, 2, what).strip() == "fine"


@needs_fork
def test_workers_of_multiprocessing(subprocess_env: dict[str, str], tiny_model: Path) -> None:
    """Forked workers make their own, however many the parent has open."""
    program = (
        START
        + """
import multiprocessing

def work(_):
    with lgin_edge.Transformer(model, threads=1) as own:
        return works(own)

with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(work, range(4)) == [True] * 4
assert works(t)
"""
    )
    succeed(program, subprocess_env | {"PYTHONWARNINGS": "error,ignore::DeprecationWarning"}, tiny_model, 2)


# ---- ended -----------------------------------------------------------------------------------------------------------

ENDED = (
    START
    + """
from lgin_edge.stream import Pipeline
what, faces = sys.argv[3], t.detect(picture)
if what in ("age", "calls"):
    pipelines = [Pipeline(t, group=4) for _ in range(2)]  # OpenCV follows the faces
    uses = [
        lambda i: t.age(picture, group=4, faces=faces),
        lambda i: t.detect(picture),
        lambda i: t.estimate_age(picture, faces=faces),
    ] * 2 + [lambda i, one=one: one(np.roll(picture, i % 7, axis=1), i / 30) for one in pipelines]
    for use in uses if what == "calls" else 3 * uses[:1]:
        threading.Thread(target=lambda use=use: [None for i in range(1_000_000) if use(i) is None], daemon=True).start()
else:
    stream = lgin_edge.Stream((picture for _ in iter(int, 1)), t, group=4, live=what == "live")
    next(stream)
    if what == "abandoned":
        threading.Thread(target=lambda: [None for _ in stream], daemon=True).start()
time.sleep(random.uniform(0.1, 0.4))
import atexit
atexit.register(lambda: print(works(t)))  # the main thread may still do what it likes
sys.exit(3)
"""
)


@pytest.mark.parametrize("what", ["calls", "live", "in order", "abandoned"])
def test_the_end_with_work_in_flight(subprocess_env: dict[str, str], tiny_model: Path, what: str) -> None:
    """Daemon threads and streams that nobody closed, at the end of the program."""
    assert succeed(ENDED, subprocess_env, tiny_model, 2, what, code=3).strip() == "True"


def test_ctrl_c_with_work_in_flight(subprocess_env: dict[str, str], tiny_model: Path) -> None:
    ctrl_c = "signal.signal(signal.SIGINT, signal.default_int_handler)\nsignal.raise_signal(signal.SIGINT)"
    program = ENDED.replace("sys.exit(3)", ctrl_c)  # heard also where the tests run in a shell's background
    done = run(program, subprocess_env, tiny_model, 2, "age")
    assert done.stderr.strip().splitlines()[-1] == "KeyboardInterrupt"
    assert done.stdout.strip() == "True"
    assert done.returncode in (-2, 130)


# ---- nothing is sent -------------------------------------------------------------------------------------------------


def test_the_run_time_keeps_to_itself(subprocess_env: dict[str, str], tiny_model: Path, tmp_path: Path) -> None:
    """ONNX Runtime's telemetry, on by default from version 1.32, has a database in the home folder and a thread."""
    home = tmp_path / "home"
    home.mkdir()
    program = "import os, lgin_edge, onnxruntime\nlgin_edge.Transformer(os.sys.argv[1], threads=1)\nprint(os.environ['ORT_DISABLE_TELEMETRY'])"
    env = {
        name: value for name, value in subprocess_env.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    assert succeed(program, env | {"HOME": str(home)}, tiny_model).strip() == "1"
    assert list(home.rglob("*")) == []
