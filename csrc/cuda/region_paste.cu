#include <algorithm>

#include "runtime.h"
#include "staged.h"

namespace lgin::cuda {
namespace {

// Threads of a block: a tile of cells, a cell each.
constexpr unsigned kColumns = 32, kRows = 8;

// What one thread changes: a pixel, or in NV12 a 2x2 block of pixels.
constexpr int cell_pixels(const PackedFrame*) { return 1; }
constexpr int cell_pixels(const Nv12Frame*) { return 4; }

__device__ Rectangle cells_of(const PackedFrame&, const PastePlan& plan) {
  return Rectangle{plan.column_begin, plan.row_begin, plan.column_end, plan.row_end};
}
__device__ Rectangle cells_of(const Nv12Frame&, const PastePlan& plan) {
  return Rectangle{plan.column_begin / 2, plan.row_begin / 2, (plan.column_end + 1) / 2, (plan.row_end + 1) / 2};
}

template <class T>
__device__ void change_cell(const PackedFrame& frame, const PastePlan& plan, const PlanarResiduals<T>& residuals,
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

// Its four Y, its U and its V.
template <class T>
__device__ void change_cell(const Nv12Frame& frame, const PastePlan& plan, const PlanarResiduals<T>& residuals,
                            int row, int column) {
  const float dx = static_cast<float>(2 * column - plan.origin_x);
  const float dy = static_cast<float>(2 * row - plan.origin_y);
  Rgb d;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      if (!residual_at(plan, residuals, dx + static_cast<float>(j), dy + static_cast<float>(i), &d)) continue;
      std::uint8_t* const y = frame.luma_address(2 * row + i, 2 * column + j);
      *y = changed_byte(*y, luma_change(d));
    }
  }
  if (!residual_at(plan, residuals, dx + 0.5f, dy + 0.5f, &d)) return;
  std::uint8_t* const u = frame.chroma_address(row, column);
  std::uint8_t* const v = u + frame.x_stride;
  *u = changed_byte(*u, u_change(d));
  *v = changed_byte(*v, v_change(d));
}

__device__ PackedFrame moved(PackedFrame frame, std::ptrdiff_t bytes) {
  frame.data += bytes;
  return frame;
}
__device__ Nv12Frame moved(Nv12Frame frame, std::ptrdiff_t bytes) {
  frame.data += bytes;
  frame.chroma += bytes;
  return frame;
}

// The grid does not know the face: its blocks take the tiles of the face's bounding box in turns. A face has fewer than
// 2^27 tiles, so that their numbers, and a grid added to them, fit.
template <class Frame, class T>
__global__ void paste_kernel(const Frame* __restrict__ source, const PastePlan* __restrict__ plans, int index,
                             PlanarResiduals<T> residuals, std::ptrdiff_t target_offset) {
  const PastePlan& plan = plans[index];
  if (plan.column_begin >= plan.column_end || plan.row_begin >= plan.row_end) return;  // outside the frame
  const Frame frame = moved(*source, target_offset);
  const Rectangle cells = cells_of(frame, plan);
  const unsigned tile_columns = (static_cast<unsigned>(cells.width()) + kColumns - 1) / kColumns;
  const unsigned tile_rows = (static_cast<unsigned>(cells.height()) + kRows - 1) / kRows;
  for (unsigned tile = blockIdx.x; tile < tile_columns * tile_rows; tile += gridDim.x) {
    const int row = cells.y0 + static_cast<int>(tile / tile_columns * kRows + threadIdx.y);
    const int column = cells.x0 + static_cast<int>(tile % tile_columns * kColumns + threadIdx.x);
    if (row < cells.y1 && column < cells.x1) change_cell(frame, plan, residuals, row, column);
  }
}

}  // namespace

template <class Frame, class T>
void launch_paste(const Block<Frame>& block, int index, const Views<const T>& residuals, long long pixels,
                  std::ptrdiff_t target_offset, int device, void* stream) {
  const DeviceScope scope(device);
  const long long tile_pixels = kColumns * kRows * cell_pixels(block.frame());
  const long long grid = std::min((pixels - 1) / tile_pixels + 1, kMaxGrid);
  launch("region_paste", paste_kernel<Frame, T>, dim3(static_cast<unsigned>(grid)), dim3(kColumns, kRows),
         static_cast<cudaStream_t>(stream), block.frame(), block.pastes(), index,
         PlanarResiduals<T>{residuals.face, residuals.patches, residuals.face_size, residuals.patch_size},
         target_offset);
}

template <class Frame, class T>
void region_paste(const Frame& frame, const FacePlan& plan, const Views<const T>& views, int device) {
  const DeviceScope scope(device);
  if (plan.count() == 0) return;
  const std::size_t face_step = face_elements(views), patch_step = patch_elements(views);
  const Staged<Frame> staged(frame, plan);
  const Buffer<T> face(face_step * plan.count());
  const Buffer<T> patches(patch_step * plan.count());
  face.upload(views.face, staged.stream());
  patches.upload(views.patches, staged.stream());
  const long long pixels = static_cast<long long>(frame.width) * frame.height;
  for (int n = 0; n < plan.count(); ++n) {
    const Views<const T> residuals{face.data() + n * face_step, patches.data() + n * patch_step, views.face_size,
                                   views.patch_size};
    launch_paste(staged.block(), n, residuals, pixels, 0, device, staged.stream());
  }
  staged.pixels().download(frame.data, staged.stream());
  staged.stream().synchronize();
}

template void region_paste(const PackedFrame&, const FacePlan&, const Views<const float>&, int);
template void region_paste(const PackedFrame&, const FacePlan&, const Views<const Half>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const Views<const float>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const Views<const Half>&, int);
template void launch_paste(const Block<PackedFrame>&, int, const Views<const float>&, long long, std::ptrdiff_t, int,
                           void*);
template void launch_paste(const Block<PackedFrame>&, int, const Views<const Half>&, long long, std::ptrdiff_t, int,
                           void*);
template void launch_paste(const Block<Nv12Frame>&, int, const Views<const float>&, long long, std::ptrdiff_t, int,
                           void*);
template void launch_paste(const Block<Nv12Frame>&, int, const Views<const Half>&, long long, std::ptrdiff_t, int,
                           void*);

}  // namespace lgin::cuda
