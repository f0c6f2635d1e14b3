#include "launch.h"
#include "runtime.h"

namespace lgin::cuda {
namespace {

// Threads of a block.
constexpr unsigned kColumns = 32, kRows = 8;

template <class T>
__device__ void change_pixel(const PackedFrame& frame, const PastePlan& plan, const PlanarResiduals<T>& residuals,
                             int row, int column) {
  Rgb d;
  if (!residual_at(plan, residuals, static_cast<float>(column - plan.origin_x),
                   static_cast<float>(row - plan.origin_y), &d)) {
    return;
  }
  std::uint8_t* const p = frame.address(row, column);
  p[frame.offset[0]] = changed_byte(p[frame.offset[0]], d.r);
  p[frame.offset[1]] = changed_byte(p[frame.offset[1]], d.g);
  p[frame.offset[2]] = changed_byte(p[frame.offset[2]], d.b);
}

// One thread a frame pixel of the face's bounding box.
template <class T>
__global__ void paste_packed(PackedFrame frame, PastePlan plan, PlanarResiduals<T> residuals) {
  const int row = plan.row_begin + static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
  const int column = plan.column_begin + static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (row < plan.row_end && column < plan.column_end) change_pixel(frame, plan, residuals, row, column);
}

// One thread a 2x2 block of the face's bounding box: its four Y, its U and its V.
template <class T>
__global__ void paste_nv12(Nv12Frame frame, PastePlan plan, PlanarResiduals<T> residuals) {
  const int block_row = plan.row_begin / 2 + static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
  const int block_column = plan.column_begin / 2 + static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (2 * block_row >= plan.row_end || 2 * block_column >= plan.column_end) return;
  const float dx = static_cast<float>(2 * block_column - plan.origin_x);
  const float dy = static_cast<float>(2 * block_row - plan.origin_y);
  Rgb d;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      if (!residual_at(plan, residuals, dx + static_cast<float>(j), dy + static_cast<float>(i), &d)) continue;
      std::uint8_t* const y = frame.luma_address(2 * block_row + i, 2 * block_column + j);
      *y = changed_byte(*y, luma_change(d));
    }
  }
  if (!residual_at(plan, residuals, dx + 0.5f, dy + 0.5f, &d)) return;
  std::uint8_t* const u = frame.chroma_address(block_row, block_column);
  std::uint8_t* const v = u + frame.x_stride;
  *u = changed_byte(*u, u_change(d));
  *v = changed_byte(*v, v_change(d));
}

unsigned blocks_for(int threads, unsigned size) { return (static_cast<unsigned>(threads) + size - 1) / size; }

dim3 grid_over(int columns, int rows) { return dim3(blocks_for(columns, kColumns), blocks_for(rows, kRows)); }

template <class T>
void start(const PackedFrame& frame, const PastePlan& plan, const PlanarResiduals<T>& residuals, cudaStream_t stream) {
  const dim3 grid = grid_over(plan.column_end - plan.column_begin, plan.row_end - plan.row_begin);
  launch("region_paste", paste_packed<T>, grid, dim3(kColumns, kRows), stream, frame, plan, residuals);
}

template <class T>
void start(const Nv12Frame& frame, const PastePlan& plan, const PlanarResiduals<T>& residuals, cudaStream_t stream) {
  const dim3 grid = grid_over((plan.column_end + 1) / 2 - plan.column_begin / 2,
                              (plan.row_end + 1) / 2 - plan.row_begin / 2);
  launch("region_paste", paste_nv12<T>, grid, dim3(kColumns, kRows), stream, frame, plan, residuals);
}

}  // namespace

template <class Frame, class T>
void launch_region_paste(const Frame& frame, const PastePlan& plan, const T* face, const T* patches,
                         cudaStream_t stream) {
  if (plan.column_begin >= plan.column_end || plan.row_begin >= plan.row_end) return;
  start(frame, plan, PlanarResiduals<T>{face, patches}, stream);
}

template <class Frame, class T>
void region_paste(const Frame& frame, const Faces& faces, const Views<const T>& views, const Tapers& tapers,
                  int device) {
  const DeviceScope scope(device);
  if (faces.count == 0) return;
  const std::size_t face_step = face_elements(views), patch_step = patch_elements(views);
  const Buffer<std::uint8_t> pixels(byte_count(frame));
  const Buffer<T> face(face_step * faces.count);
  const Buffer<T> patches(patch_step * faces.count);
  const Stream stream;
  pixels.upload(frame.data, stream);
  face.upload(views.face, stream);
  patches.upload(views.patches, stream);
  for (int n = 0; n < faces.count; ++n) {
    const PastePlan plan = plan_paste(faces.affines + 6 * static_cast<std::ptrdiff_t>(n),
                                      faces.boxes + 4 * kRegions * static_cast<std::ptrdiff_t>(n), tapers,
                                      views.face_size, views.patch_size, frame.height, frame.width);
    launch_region_paste(at_address(frame, pixels.data()), plan, face.data() + n * face_step,
                        patches.data() + n * patch_step, stream);
  }
  pixels.download(frame.data, stream);
  stream.synchronize();
}

template void launch_region_paste(const PackedFrame&, const PastePlan&, const float*, const float*, cudaStream_t);
template void launch_region_paste(const PackedFrame&, const PastePlan&, const Half*, const Half*, cudaStream_t);
template void launch_region_paste(const Nv12Frame&, const PastePlan&, const float*, const float*, cudaStream_t);
template void launch_region_paste(const Nv12Frame&, const PastePlan&, const Half*, const Half*, cudaStream_t);
template void region_paste(const PackedFrame&, const Faces&, const Views<const float>&, const Tapers&, int);
template void region_paste(const PackedFrame&, const Faces&, const Views<const Half>&, const Tapers&, int);
template void region_paste(const Nv12Frame&, const Faces&, const Views<const float>&, const Tapers&, int);
template void region_paste(const Nv12Frame&, const Faces&, const Views<const Half>&, const Tapers&, int);

}  // namespace lgin::cuda
