#include "launch.h"
#include "runtime.h"

namespace lgin::cuda {
namespace {

constexpr int kThreads = 256;

struct ComputedOffsets {
  const ViewPlan& plan;
  __device__ Offset operator()(int m, int k) const { return footprint_offset(plan, m, k); }
};

// One thread a view pixel. The blocks of a face stand in a row: its face view's, then each patch's.
template <class Frame, class T>
__global__ void crop_kernel(Frame frame, const ViewPlan* plans, Views<T> views, int face_blocks, int patch_blocks) {
  const int blocks = face_blocks + kRegions * patch_blocks;
  const long long n = blockIdx.x / blocks;
  const int block = static_cast<int>(blockIdx.x % blocks);
  const int v = block < face_blocks ? 0 : 1 + (block - face_blocks) / patch_blocks;
  const int first = v == 0 ? block : (block - face_blocks) % patch_blocks;
  const ViewPlan plan = plans[n * kViews + v];
  const int plane = plan.width * plan.height;
  const int index = first * kThreads + static_cast<int>(threadIdx.x);
  if (index >= plane) return;
  T* const view = v == 0 ? views.face + n * 3 * plane : views.patches + (n * kRegions + v - 1) * 3 * plane;
  const Rgb value = to_unit(
      footprint_mean<true>(frame, plan, ComputedOffsets{plan}, index / plan.width, index % plan.width));
  store(view + index, value.r);
  store(view + plane + index, value.g);
  store(view + 2 * plane + index, value.b);
}

int blocks_for(int side) { return (side * side + kThreads - 1) / kThreads; }

}  // namespace

template <class Frame, class T>
void launch_region_crop(const Frame& frame, const ViewPlan* plans, int count, const Views<T>& views,
                        cudaStream_t stream) {
  if (count == 0) return;
  const int face_blocks = blocks_for(views.face_size), patch_blocks = blocks_for(views.patch_size);
  const long long grid = static_cast<long long>(count) * (face_blocks + kRegions * patch_blocks);
  if (grid > 0x7fffffff) throw DeviceError("region_crop: too many faces for one launch; cut fewer at a time");
  launch("region_crop", crop_kernel<Frame, T>, dim3(static_cast<unsigned>(grid)), dim3(kThreads), stream, frame, plans,
         views, face_blocks, patch_blocks);
}

template <class Frame, class T>
void region_crop(const Frame& frame, const Faces& faces, const Views<T>& views, int device) {
  const DeviceScope scope(device);
  if (faces.count == 0) return;
  const std::vector<ViewPlan> plans =
      plan_crop(faces.affines, faces.boxes, faces.count, views.face_size, views.patch_size);
  const Buffer<std::uint8_t> pixels(byte_count(frame));
  const Buffer<ViewPlan> device_plans(plans.size());
  const Buffer<T> face(face_elements(views) * faces.count);
  const Buffer<T> patches(patch_elements(views) * faces.count);
  const Stream stream;
  pixels.upload(frame.data, stream);
  device_plans.upload(plans.data(), stream);
  launch_region_crop(at_address(frame, pixels.data()), device_plans.data(), faces.count,
                     Views<T>{face.data(), patches.data(), views.face_size, views.patch_size}, stream);
  face.download(views.face, stream);
  patches.download(views.patches, stream);
  stream.synchronize();
}

template void launch_region_crop(const PackedFrame&, const ViewPlan*, int, const Views<float>&, cudaStream_t);
template void launch_region_crop(const PackedFrame&, const ViewPlan*, int, const Views<Half>&, cudaStream_t);
template void launch_region_crop(const Nv12Frame&, const ViewPlan*, int, const Views<float>&, cudaStream_t);
template void launch_region_crop(const Nv12Frame&, const ViewPlan*, int, const Views<Half>&, cudaStream_t);
template void region_crop(const PackedFrame&, const Faces&, const Views<float>&, int);
template void region_crop(const PackedFrame&, const Faces&, const Views<Half>&, int);
template void region_crop(const Nv12Frame&, const Faces&, const Views<float>&, int);
template void region_crop(const Nv12Frame&, const Faces&, const Views<Half>&, int);

int device_count() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

bool built() noexcept { return true; }

}  // namespace lgin::cuda
