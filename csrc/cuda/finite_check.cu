#include <algorithm>

#include "runtime.h"

namespace lgin::cuda {
namespace {

constexpr int kThreads = 256;
constexpr long long kMaxBlocks = 1024;

// Many threads may write the same 1.
template <class T>
__global__ void finite_check_kernel(const T* __restrict__ values, long long count, std::uint32_t* found) {
  const long long step = static_cast<long long>(gridDim.x) * kThreads;
  for (long long i = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += step) {
    const float value = to_float(values[i]);
    if (!(value - value == 0.0f)) *found = 1;
  }
}

}  // namespace

template <class T>
void launch_finite_check(const T* values, long long count, std::uint32_t* found, int device, void* stream) {
  const DeviceScope scope(device);
  const long long blocks = std::min((count + kThreads - 1) / kThreads, kMaxBlocks);
  launch("finite_check", finite_check_kernel<T>, dim3(static_cast<unsigned>(blocks)), dim3(kThreads),
         static_cast<cudaStream_t>(stream), values, count, found);
}

template void launch_finite_check(const float*, long long, std::uint32_t*, int, void*);
template void launch_finite_check(const Half*, long long, std::uint32_t*, int, void*);

}  // namespace lgin::cuda
