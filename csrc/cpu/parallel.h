// A parallel loop on threads that live for one call.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace lgin {

// Call body(begin, end, worker) for consecutive chunks of [0, count) on up to `threads` threads, the caller's among them;
// `worker` is below `threads`, and no two calls with the same one run at once. When a thread cannot be created the others
// do its share. A body must not throw, nor allocate: where memory is out, a thread of ours could not even throw
// std::bad_alloc (the C++ run time allocates its state for exceptions at a thread's first one, and aborts without).
template <class Body>
void parallel_for(int count, int chunk, int threads, const Body& body) {
  const int chunks = (count + chunk - 1) / chunk;
  const int workers = std::min(threads, chunks) - 1;
  if (workers <= 0) {
    if (count > 0) body(0, count, 0);
    return;
  }
  std::atomic<int> next{0};
  const auto work = [&](int worker) noexcept {
    for (int i = next.fetch_add(1); i < chunks; i = next.fetch_add(1)) {
      body(i * chunk, std::min(count, (i + 1) * chunk), worker);
    }
  };
  std::vector<std::thread> pool;
  pool.reserve(static_cast<std::size_t>(workers));
  try {
    for (int i = 1; i <= workers; ++i) pool.emplace_back(work, i);
  } catch (const std::exception&) {  // no more threads, or no memory for one
  }
  work(0);
  for (std::thread& thread : pool) thread.join();
}

}  // namespace lgin
