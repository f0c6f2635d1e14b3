#!/bin/sh
# Build the kernels with sanitizers and run their tests under them; any report fails. The CUDA kernels are built for the host
# (tests/cuda_on_host), so that the tests marked `cuda` run here as well.
#
#   tests/sanitizers.sh [build folder] [python] [hypothesis examples]                    AddressSanitizer, UndefinedBehaviorSanitizer
#   LGIN_SANITIZE=thread tests/sanitizers.sh [build folder] [python] [rounds]            ThreadSanitizer, on tests with threads
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
sanitize=${LGIN_SANITIZE:-address,undefined}
cuda=HOST
[ "$sanitize" != thread ] || cuda=OFF
build=${1:-$root/build/sanitizers-$sanitize}
python=${2:-python}
examples=${3:-25}

# As the sanitizers' authors advise: code that is hardly optimised hides nothing and compiles faster; reports need lines alone.
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1 -DNDEBUG" \
  -DPython_EXECUTABLE="$(command -v "$python")" \
  -DLGIN_CUDA="$cuda" -DLGIN_SANITIZE="$sanitize"
cmake --build "$build" --parallel 2

# A copy of the package beside the sanitized module, away from the checkout: nothing else can be imported by mistake.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/site" "$work/tests"
# Without byte code: other tests may be writing it just now, and a file that goes as it is copied is an error.
copy() { tar -C "$1" --exclude=__pycache__ -cf - "$2" | tar -C "$3" -xf -; }
copy "$root" lgin_edge "$work/site"
rm -f "$work"/site/lgin_edge/_native*.so
cmake --install "$build" --prefix "$work/site"
cp "$root"/tests/kernels/*.py "$root"/tests/frames.py "$root"/tests/loose.py "$root"/tests/tolerances.py \
  "$root"/tests/test_fuzz_corpus.py "$root"/tests/models.py "$work/tests/"
copy "$root/tests" fuzz "$work/tests"
copy "$root/tests" support "$work/tests" # seeds are built with it
copy "$root" integrations "$work" # of whose shards a target reads
cp "$root/pyproject.toml" "$work/"

cxx=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
cd "$work"
export PYTHONPATH="$work/site" OPENBLAS_NUM_THREADS=1 LGIN_TEST_EXAMPLES="$examples" LGIN_REQUIRE_CUDA=1
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
cat >run.py <<'END'
import importlib.machinery, sys
sys.meta_path.insert(0, importlib.machinery.PathFinder)  # an editable install has a finder of its own before it
import pytest
from lgin_edge import _native
assert _native.__file__.startswith(sys.argv[1]), f"not the sanitized module: {_native.__file__}"
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--tb=short", "--capture=sys", *sys.argv[2:]]))
END
if [ "$sanitize" != thread ]; then
  LD_PRELOAD="$("$cxx" -print-file-name=libasan.so) $("$cxx" -print-file-name=libubsan.so)" "$python" run.py "$work/site" tests \
    -k "test_kernels or test_native_stub or (test_fuzz_corpus and (native or arguments))"
  exit
fi

cp "$root"/tests/faults/test_faults_threads.py "$root"/tests/models.py "$work/tests/"
# Addresses are not shuffled: gcc's TSan knows only some places. Python, NumPy and ONNX Runtime are not instrumented: only what
# our kernels do is looked at, and whom they wait for is seen in pthreads, which Python uses.
under_tsan() {
  LD_PRELOAD="$("$cxx" -print-file-name=libtsan.so)" TSAN_OPTIONS=halt_on_error=1:exitcode=66 \
    setarch "$(uname -m)" --addr-no-randomize "$python" run.py "$work/site" -p no:faulthandler "$@"
}
# First a race that is there.
status=0
LGIN_TSAN_CONTROL=1 under_tsan tests/test_faults_threads.py -k control >control.log 2>&1 || status=$?
if [ "$status" != 66 ] || ! grep -q "ThreadSanitizer: data race" control.log; then
  cat control.log
  echo "ThreadSanitizer did not find the race that is there: exit code $status"
  exit 1
fi
under_tsan tests/test_faults_threads.py tests/test_kernels.py tests/test_kernels_edges.py -k "threads"
