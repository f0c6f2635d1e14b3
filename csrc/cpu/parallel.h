// A parallel loop on threads that live for one call.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace lgin {

// Call body(begin, end) for consecutive chunks of [0, count) on up to `threads` threads, the caller's among them. When a
// thread cannot be created the others do its share. The first exception of a body is thrown again here.
template <class Body>
void parallel_for(int count, int chunk, int threads, const Body& body) {
  const int chunks = (count + chunk - 1) / chunk;
  const int workers = std::min(threads, chunks) - 1;
  if (workers <= 0) {
    if (count > 0) body(0, count);
    return;
  }
  std::atomic<int> next{0};
  std::exception_ptr failure;
  std::mutex failure_lock;
  const auto work = [&] {
    try {
      for (int i = next.fetch_add(1); i < chunks; i = next.fetch_add(1)) {
        body(i * chunk, std::min(count, (i + 1) * chunk));
      }
    } catch (...) {
      next = chunks;
      const std::lock_guard<std::mutex> hold(failure_lock);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> pool;
  pool.reserve(static_cast<std::size_t>(workers));
  try {
    for (int i = 0; i < workers; ++i) pool.emplace_back(work);
  } catch (const std::exception&) {  // no more threads, or no memory for one
  }
  work();
  for (std::thread& thread : pool) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace lgin
