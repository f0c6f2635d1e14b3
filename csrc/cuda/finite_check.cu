#include <algorithm>

#include "runtime.h"

namespace lgin::cuda {
namespace {

constexpr int kThreads = 256;
constexpr long long kMaxBlocks = 256;  // of an array

// A row of blocks for each array. Many threads may write the same 1.
template <class T>
__global__ void finite_check_kernel(FiniteChecks<T> arrays, std::uint32_t* found) {
  const T* const __restrict__ values = arrays.values[blockIdx.y];
  const long long count = arrays.counts[blockIdx.y], step = static_cast<long long>(gridDim.x) * kThreads;
  for (long long i = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += step) {
    const float value = to_float(values[i]);
    if (!(value - value == 0.0f)) found[blockIdx.y] = 1;
  }
}

}  // namespace

template <class T>
void launch_finite_check(const FiniteChecks<T>& arrays, std::uint32_t* found, int device, void* stream) {
  const DeviceScope scope(device);
  const long long count = *std::max_element(arrays.counts, arrays.counts + arrays.size);
  const long long blocks = std::min((count + kThreads - 1) / kThreads, kMaxBlocks);
  launch("finite_check", finite_check_kernel<T>, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(arrays.size)),
         dim3(kThreads), static_cast<cudaStream_t>(stream), arrays, found);
}

template void launch_finite_check(const FiniteChecks<float>&, std::uint32_t*, int, void*);
template void launch_finite_check(const FiniteChecks<Half>&, std::uint32_t*, int, void*);

}  // namespace lgin::cuda
