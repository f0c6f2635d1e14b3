#include "runtime.h"
#include "staged.h"

namespace lgin::cuda {
namespace {

constexpr int kThreads = 256;

struct ComputedOffsets {
  const ViewPlan& plan;
  __device__ Offset operator()(int m, int k) const { return footprint_offset(plan, m, k); }
};

// One thread a view pixel. The blocks of a face stand in a row: its face view's, then each patch's.
template <class Frame, class T>
__global__ void crop_kernel(const Frame* __restrict__ source, const ViewPlan* __restrict__ plans, Views<T> views,
                            int face_blocks, int patch_blocks) {
  const int blocks = face_blocks + kRegions * patch_blocks;
  const long long n = blockIdx.x / blocks;
  const int block = static_cast<int>(blockIdx.x % blocks);
  const int v = block < face_blocks ? 0 : 1 + (block - face_blocks) / patch_blocks;
  const int first = v == 0 ? block : (block - face_blocks) % patch_blocks;
  const int size = v == 0 ? views.face_size : views.patch_size;
  const int plane = size * size;
  const int index = first * kThreads + static_cast<int>(threadIdx.x);
  if (index >= plane) return;
  const Frame frame = *source;
  const ViewPlan plan = plans[n * kViews + v];
  T* const view = v == 0 ? views.face + n * 3 * plane : views.patches + (n * kRegions + v - 1) * 3 * plane;
  const Rgb value = to_unit(footprint_mean<true>(frame, plan, ComputedOffsets{plan}, index / size, index % size));
  store(view + index, value.r);
  store(view + plane + index, value.g);
  store(view + 2 * plane + index, value.b);
}

int blocks_for(int side) { return (side * side + kThreads - 1) / kThreads; }

}  // namespace

template <class Frame, class T>
void launch_crop(const Block<Frame>& block, const Views<T>& views, int device, void* stream) {
  const DeviceScope scope(device);
  if (block.count == 0) return;
  const int face_blocks = blocks_for(views.face_size), patch_blocks = blocks_for(views.patch_size);
  const long long grid = static_cast<long long>(block.count) * (face_blocks + kRegions * patch_blocks);
  if (grid > kMaxGrid) throw DeviceError("region_crop: too many faces for one launch; cut fewer at a time");
  launch("region_crop", crop_kernel<Frame, T>, dim3(static_cast<unsigned>(grid)), dim3(kThreads),
         static_cast<cudaStream_t>(stream), block.frame(), block.views(), views, face_blocks, patch_blocks);
}

template <class Frame, class T>
void region_crop(const Frame& frame, const FacePlan& plan, const Views<T>& views, int device) {
  const DeviceScope scope(device);
  if (plan.count() == 0) return;
  const Staged<Frame> staged(frame, plan);
  const Buffer<T> face(face_elements(views) * plan.count());
  const Buffer<T> patches(patch_elements(views) * plan.count());
  launch_crop(staged.block(), Views<T>{face.data(), patches.data(), views.face_size, views.patch_size}, device,
              staged.stream());
  face.download(views.face, staged.stream());
  patches.download(views.patches, staged.stream());
  staged.stream().synchronize();
}

template void region_crop(const PackedFrame&, const FacePlan&, const Views<float>&, int);
template void region_crop(const PackedFrame&, const FacePlan&, const Views<Half>&, int);
template void region_crop(const Nv12Frame&, const FacePlan&, const Views<float>&, int);
template void region_crop(const Nv12Frame&, const FacePlan&, const Views<Half>&, int);
template void launch_crop(const Block<PackedFrame>&, const Views<float>&, int, void*);
template void launch_crop(const Block<PackedFrame>&, const Views<Half>&, int, void*);
template void launch_crop(const Block<Nv12Frame>&, const Views<float>&, int, void*);
template void launch_crop(const Block<Nv12Frame>&, const Views<Half>&, int, void*);

int device_count() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

bool built() noexcept { return true; }

bool is_host() noexcept {
#if defined(__CUDACC__)
  return false;
#else
  return true;
#endif
}

}  // namespace lgin::cuda
