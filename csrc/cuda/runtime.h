// Owners of CUDA resources, and errors as exceptions.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "region_ops.h"

namespace lgin::cuda {

inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // clear what the run time remembers, so that the next call starts clean
  throw DeviceError(std::string(what) + ": CUDA error " + std::to_string(static_cast<int>(error)) + ", " +
                    cudaGetErrorString(error));
}

constexpr long long kMaxGrid = 0x7fffffff;

// Start a kernel. In one place, because `<<< >>>` is what a host compiler cannot read (tests/cuda_on_host).
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream,
            const Arguments&... arguments) {
#if defined(__CUDACC__)
  kernel<<<grid, block, 0, stream>>>(arguments...);
#else
  static_cast<void>(stream);
  launch_on_host(kernel, grid, block, arguments...);
#endif
  check(cudaGetLastError(), name);
}

// Makes a device current for a scope.
class DeviceScope {
 public:
  explicit DeviceScope(int device) {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
      cudaGetLastError();
      count = 0;
    }
    if (device < 0 || device >= count) {
      // A driver that is older than this build finds its GPUs, and the error alone says that it is.
      const std::string why = error == cudaSuccess ? "" : std::string(" (") + cudaGetErrorString(error) + ")";
      throw DeviceError("device cuda:" + std::to_string(device) + ": this machine has " + std::to_string(count) +
                        " usable CUDA devices" + why +
                        "; use device \"cpu\", or see nvidia-smi for what the driver finds");
    }
    check(cudaGetDevice(&previous_), "cudaGetDevice");
    check(cudaSetDevice(device), "cudaSetDevice");
  }
  ~DeviceScope() { cudaSetDevice(previous_); }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int previous_ = 0;
};

class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  operator cudaStream_t() const { return stream_; }
  void synchronize() const { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t stream_ = nullptr;
};

template <class T>
class Buffer {
 public:
  explicit Buffer(std::size_t count) : bytes_(count * sizeof(T)) {
    if (bytes_) check(cudaMalloc(reinterpret_cast<void**>(&data_), bytes_), "cudaMalloc");
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() const { return data_; }
  void upload(const T* source, const Stream& stream) const {
    if (bytes_) check(cudaMemcpyAsync(data_, source, bytes_, cudaMemcpyHostToDevice, stream), "upload");
  }
  void download(T* target, const Stream& stream) const {
    if (bytes_) check(cudaMemcpyAsync(target, data_, bytes_, cudaMemcpyDeviceToHost, stream), "download");
  }

 private:
  T* data_ = nullptr;
  std::size_t bytes_;
};

}  // namespace lgin::cuda
